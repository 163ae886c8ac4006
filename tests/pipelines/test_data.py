"""The order in which training sees its samples."""

from __future__ import annotations

import dataclasses
import io
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from infra.dataset import open_dataset
from infra.storage import FileStore
from pipelines.data import (
    AHEAD,
    TENSORS,
    RunOrder,
    TriplaneSamples,
    batches,
    mirrored,
    names_of,
)
from pipelines.presets import TINY
from rodin import cameras, triplane
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.render import render_image
from tests.infra import people


def take(count: int, batch: int, batches: int, **more: int) -> list[list[int]]:
    settings = {"seed": 0, "start": 0, "rank": 0, "ranks": 1, **more}
    return list(islice(RunOrder(count, batch, **settings), batches))


def test_an_epoch_sees_every_sample_once_and_a_new_one_another_order() -> None:
    flat = [index for batch in take(6, 2, 6) for index in batch]
    assert sorted(flat[:6]) == sorted(flat[6:]) == list(range(6))
    assert flat[:6] != flat[6:]


def test_resuming_goes_on_in_the_same_order() -> None:
    straight = take(5, 2, 8)
    assert take(5, 2, 5, start=6) == straight[3:]


def test_ranks_share_each_batch_without_overlap() -> None:
    whole = take(7, 4, 3)
    parts = [take(7, 4, 3, rank=rank, ranks=2) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(first + second) == sorted(batch)


def test_seeds_differ_and_zero_is_a_seed() -> None:
    assert take(9, 9, 1, seed=0) != take(9, 9, 1, seed=1)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=3 does not divide among 2"):
        take(5, 3, 1, ranks=2)


class Slowly:
    """Ten samples, each read when it is asked for; number 7 is damaged where `broken`."""

    def __init__(self, broken: bool = False) -> None:
        self.read: list[int] = []
        self.broken = broken

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.broken and index == 7:
            raise ValueError("sample 7 is damaged")
        self.read.append(index)
        return {"x": torch.tensor(index)}


def test_batches_are_made_before_they_are_asked_for() -> None:
    samples = Slowly()
    with closing(batches(samples, batch=2, seed=0, start=0)) as feed:
        found = [next(feed)["x"].tolist()]
        end = time.monotonic() + 30
        while len(samples.read) < 2 * (1 + AHEAD):
            assert time.monotonic() < end, "nothing is read ahead"
            time.sleep(0.01)
        found += [next(feed)["x"].tolist() for _ in range(4)]
    assert found == take(10, 2, 5)


def test_a_damaged_sample_stops_the_batch_that_holds_it() -> None:
    feed = batches(Slowly(broken=True), batch=2, seed=0, start=0)
    with closing(feed), pytest.raises(ValueError, match="sample 7 is damaged"):
        for _ in range(5):
            next(feed)


@pytest.mark.parametrize("reader", ["ours", "webdataset"])
def test_loaders_with_workers_see_every_sample_once(tmp_path: Path, reader: str) -> None:
    """By the manifest's ranges, and by webdataset over the plain tars, each in two processes."""
    store = FileStore(tmp_path)
    people.make(store, people.keys_of(0, 10), shard_size=2)
    shards = open_dataset(store)
    if reader == "ours":
        samples = TriplaneSamples(shards, "train")
        loader = DataLoader(samples, batch_size=2, num_workers=2)
        planes = [plane for batch in loader for plane in batch["planes"]]
    else:
        import webdataset as wds

        tars = [str(tmp_path / name) for name in shards.shards("train")]
        raw = wds.WebDataset(tars, shardshuffle=False)
        loader = DataLoader(raw, batch_size=None, num_workers=2)
        arrays = [np.load(io.BytesIO(s["triplane.npy"]), allow_pickle=False) for s in loader]
        planes = [torch.from_numpy(array).float() for array in arrays]
    wanted = [people.planes_of(key).astype(np.float32) for key in shards.keys("train")]
    found = sorted(plane.numpy().tobytes() for plane in planes)
    assert found == sorted(array.tobytes() for array in wanted)


def test_a_stage_gets_what_it_trains_with(tmp_path: Path) -> None:
    """And who looks at people gets all of them, whatever the stage trains with."""
    store = FileStore(tmp_path)
    people.make(store, people.keys_of(0, 4), shard_size=2)
    shards = open_dataset(store)
    some = TriplaneSamples(shards, "train", names_of(TINY.base))
    whole = TriplaneSamples(shards, "train")
    assert set(some[0]) == {"planes", "portrait"}
    assert set(whole[0]) == set(TENSORS)
    assert all(torch.equal(value, whole[0][name]) for name, value in some[0].items())
    assert torch.equal(some.first("train", 1)["views"][0], whole[0]["views"])
    assert names_of(TINY.upsampler) == names_of(TINY.refiner) == (), "they render"
    blind = dataclasses.replace(TINY.upsampler.model, patch_weight=0.0, perceptual_weight=0.0)
    assert names_of(dataclasses.replace(TINY.upsampler, model=blind)) == names_of(TINY.base)


def test_mirrored_people_look_as_in_a_mirror(tmp_path: Path) -> None:
    """Everyone comes twice; planes rendered from mirrored cameras are the mirror images."""
    store = FileStore(tmp_path)
    people.make(store, people.keys_of(0, 12), shard_size=2)
    shards = open_dataset(store)
    plain = TriplaneSamples(shards, "train")
    twice = TriplaneSamples(shards, "train", mirror=True)
    assert len(twice) == len(list(twice)) == 2 * len(plain) > 2
    person, turned = twice[1], twice[1 + len(plain)]
    assert torch.equal(person["planes"], plain[1]["planes"])
    assert torch.equal(turned["portrait"], person["portrait"].flip(-1))
    again = mirrored(turned)
    for name, value in person.items():
        torch.testing.assert_close(again[name], value)
    # Lookup and camera agree, with planes and a lens that are nowhere symmetric.
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(3, 4, 8, 8, generator=generator)
    decoder = TriplaneDecoder(DecoderConfig(channels=4, hidden=8, density_bias=-1.0), generator)
    pose, lens = cameras.orbit(40.0, 15.0), cameras.intrinsics_from_fov(24, 16)
    lens[0, 2] += 3.0
    flipped = cameras.mirror(pose, lens, 24)
    image = render_image(planes, decoder, pose, lens, 16, 24).rgb
    other = render_image(triplane.mirror(planes), decoder, *flipped, 16, 24).rgb
    assert not torch.allclose(image, image.flip(1), atol=0.05)
    torch.testing.assert_close(other.flip(1), image, atol=1e-4, rtol=1e-4)
