"""Tri-plane samples for training: random access by the manifest, in an order that can resume.

Which samples make a batch is a function of (seed, samples seen): see `rodin.training.draw_indices`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from infra.manifest import Dataset as Shards
from pipelines.settings import BaseStage, TrainStage, UpsamplerStage
from rodin import cameras, record, triplane
from rodin.training import draw_indices

KEEP = 2 << 30  # bytes of decoded samples that a loader keeps in memory
READERS = 4  # threads that read and decode: a step must not wait for the disk or S3
AHEAD = 2  # batches made before they are asked for

T = TypeVar("T")


class RunOrder:
    """Batches of indices for one rank of a run, from sample number `start` on, without end."""

    def __init__(
        self, count: int, batch: int, *, seed: int, start: int, rank: int, ranks: int
    ) -> None:
        if batch % ranks:
            raise ValueError(
                f"train.batch_size={batch} does not divide among {ranks} ranks; use a multiple"
            )
        self.count, self.batch, self.seed, self.start = count, batch, seed, start
        self.rank, self.ranks = rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        seen = self.start
        while True:
            picked = draw_indices(self.count, self.batch, seed=self.seed, samples_seen=seen)
            yield picked[self.rank :: self.ranks]
            seen += self.batch


class Kept(Generic[T]):
    """Values made when first asked for; the recent ones stay, up to KEEP bytes. For threads too."""

    def __init__(self, make: Callable[[int], T], size_of: Callable[[T], int]) -> None:
        self.make, self.size_of = make, size_of
        self.values: OrderedDict[int, T] = OrderedDict()
        self.bytes = 0
        self.lock = Lock()  # of both: threads read side by side

    def __call__(self, index: int) -> T:
        with self.lock:
            if index in self.values:
                self.values.move_to_end(index)
                return self.values[index]
        value = self.make(index)
        with self.lock:
            if index not in self.values:
                self.values[index] = value
                self.bytes += self.size_of(value)
            while self.bytes > KEEP and len(self.values) > 1:
                self.bytes -= self.size_of(self.values.popitem(last=False)[1])
        return value


class TriplaneSamples(Dataset[dict[str, torch.Tensor]]):
    """The samples of a split; recent ones stay in memory, decoded but in their stored types."""

    def __init__(
        self,
        shards: Shards,
        split: str,
        names: Sequence[str] = (),
        mirror: bool = False,
        only: Container[str] | None = None,
    ) -> None:
        """`names` of the tensors that are made of each sample; empty: all. See `tensors`.

        With `mirror` everyone comes a second time, as a mirror shows them, after all others.
        People whose key is not in `only` are left out.
        """
        self.shards, self.names, self.mirror = shards, names, mirror
        self.rows = [row for row in shards.rows(split) if only is None or str(row["key"]) in only]
        if not self.rows:
            raise ValueError(
                f"{shards.store.uri} has no {split} samples; make more avatars"
                " (--render.avatars) or change --render.val-fraction"
            )
        self.sample = Kept(
            lambda index: record.decode_triplane(shards.read_row(self.rows[index])), size_of
        )

    @property
    def people(self) -> int:
        """Sample i and sample i + people show one person, in mirror image."""
        return len(self.rows)

    def __len__(self) -> int:
        return self.people * (1 + self.mirror)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        turned, place = divmod(index, len(self.rows))
        found = tensors(self.sample(place), self.names)
        return mirrored(found) if turned else found

    def held_out(self, count: int) -> dict[str, torch.Tensor] | None:
        """The first `count` people held out from training as a batch; None where there are none."""
        return self.first("val", count) if self.shards.keys("val") else None

    def first(self, split: str, count: int) -> dict[str, torch.Tensor]:
        """The first `count` people of a split as a batch of all tensors."""
        return joined(TriplaneSamples(self.shards, split), count)


def size_of(sample: record.TriplaneSample) -> int:
    return sample.triplane.nbytes + sample.portrait.nbytes + sample.rgba.nbytes


def image(pixels: np.ndarray) -> torch.Tensor:
    """(..., H, W, 4) uint8 -> (..., 4, H, W) float32 in [0, 1]."""
    return torch.from_numpy(pixels).movedim(-1, -3).float() / 255.0


def floats(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


TENSORS: dict[str, Callable[[record.TriplaneSample], torch.Tensor]] = {
    "planes": lambda sample: floats(sample.triplane),
    "portrait": lambda sample: image(sample.portrait),
    "views": lambda sample: image(sample.rgba),
    "camera_to_world": lambda sample: floats(sample.camera_to_world),
    "intrinsics": lambda sample: floats(sample.intrinsics),
}


def names_of(stage: TrainStage) -> tuple[str, ...]:
    """Which tensors a stage trains with, () = all: views are most of a sample's pixels."""
    if isinstance(stage, UpsamplerStage) and stage.model.renders:
        return ()
    return ("planes", "portrait") if isinstance(stage, BaseStage | UpsamplerStage) else ()


def tensors(sample: record.TriplaneSample, names: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """What the diffusion systems take: planes (3, C, R, R) raw, portrait (4, P, P), views
    (K, 4, H, W), camera_to_world (K, 4, 4), intrinsics (K, 3, 3), all float32; or some of these."""
    return {name: TENSORS[name](sample) for name in names or TENSORS}


def mirrored(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the person whom a mirror shows: left and right change places.

    Of fits without view directions the planes' mirror image is the mirrored person's fit.
    """
    found = dict(sample)
    if "planes" in found:
        found["planes"] = triplane.mirror(found["planes"])
    for name in {"portrait", "views"} & found.keys():
        found[name] = found[name].flip(-1)
    if "views" in found:
        found["camera_to_world"], found["intrinsics"] = cameras.mirror(
            found["camera_to_world"], found["intrinsics"], found["views"].shape[-1]
        )
    return found


def joined(samples: Any, count: int) -> dict[str, torch.Tensor]:
    """The first `count` samples as a batch."""
    return default_collate([samples[i] for i in range(min(count, len(samples)))])


def batches(
    samples: Any,
    *,
    batch: int,
    seed: int,
    start: int,
    rank: int = 0,
    ranks: int = 1,
) -> Generator[dict[str, Any]]:
    """Endless batches of `samples` for one rank; `batch` counts those of all ranks together.

    The next ones are read, decoded and put together by threads while a step runs.
    """
    order = RunOrder(len(samples), batch, seed=seed, start=start, rank=rank, ranks=ranks)
    readers, joiner = ThreadPoolExecutor(READERS), ThreadPoolExecutor(1)
    waiting: deque[Future[dict[str, Any]]] = deque()
    try:
        for picked in order:
            parts = [readers.submit(samples.__getitem__, index) for index in picked]
            waiting.append(joiner.submit(_joined, parts))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
    finally:
        for pool in (readers, joiner):
            pool.shutdown(wait=False, cancel_futures=True)


def _joined(parts: list[Future[dict[str, torch.Tensor]]]) -> dict[str, Any]:
    return default_collate([part.result() for part in parts])
