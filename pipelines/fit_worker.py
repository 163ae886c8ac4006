"""What a fitting worker does with a shard: views decoded ahead, people fitted, measured, packed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from infra.canon import settings_hash, sha256_hex
from infra.manifest import open_dataset
from infra.shards import (
    Failure,
    KeptSamples,
    Packed,
    Unit,
    channel_stats,
    commit_unit,
    read_sidecar,
)
from infra.storage import open_store
from pipelines import models, quality
from pipelines.settings import FitStage
from pipelines.views_ahead import decoded
from rodin import record

# of the views, kept with the planes
META = ("seed", "attributes", "caption", "captions", "licence")
PREVIEW_VIEWS = 2


def to_views(sample: record.ViewsSample) -> Any:
    from rodin.views import Views

    return Views(sample.rgba, sample.camera_to_world, sample.intrinsics, sample.depth)


def seed_of(key: str) -> int:
    """A key's own seed: its number where it is one."""
    if key.isdecimal():
        return int(key) % 2**31
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 2**31


class ShardReplaced(RuntimeError):
    """Another worker has committed the unit in the meantime; a new try sees what it did."""

    transient = True


class FitWorker:
    """One Ray actor: fits the people of a unit and commits the shard.

    With `refit` (unit id -> keys) it fits these people again, for longer, keeps the better of the
    two fits, and marks those that stay under `limit` dB.
    """

    def __init__(
        self,
        out: str,
        views_uri: str,
        stage: FitStage,
        identity: dict[str, Any],
        threads: int,
        refit: Mapping[str, Sequence[str]] | None = None,
        limit: float = 0.0,
    ) -> None:
        import torch

        from rodin import perceptual

        torch.set_num_threads(threads)
        # Decoded views come from shared memory and are only read.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        self.store = open_store(out).child("triplanes")
        self.views = open_dataset(open_store(views_uri))
        self.stage, self.identity = stage, identity
        self.refit, self.limit = refit or {}, limit
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.decoder = models.load_decoder(self.store).to(self.device)
        measured = stage.features or stage.vgg_weights
        self.features = perceptual.load(stage.vgg_weights or None) if measured else None
        self.work = self.waited = 0.0
        self.ended: float | None = None
        self.drawn: dict[str, bytes] = {}  # previews (PNG) by the fingerprint of their fit

    def __call__(self, unit: Unit) -> dict[str, Any]:
        begin = time.perf_counter()
        idle = 0.0 if self.ended is None else begin - self.ended
        self.work = self.waited = 0.0
        before = read_sidecar(self.store, unit)
        kept = KeptSamples(self.store, unit, self.identity)
        # Who has a second fit keeps it: this may be a unit that was committed just before a kill.
        again = {
            key
            for key in self.refit.get(unit.id, ())
            if not ((fit := kept.get(key)) and fit.metrics["refits"])
        }
        people = self.people(unit, kept, again)
        done = commit_unit(
            self.store, unit, self.watched(people, unit, before), settings=self.identity
        )
        self.ended = time.perf_counter()
        times = {"work": self.work, "waited": self.waited, "idle": idle}
        replaced = ((before or {}).get("shard") or {}).get("name", "")
        return {**done, "seconds": self.ended - begin, "replaced": replaced, **times}

    def watched(
        self, people: Iterator[Packed | Failure], unit: Unit, before: dict[str, Any] | None
    ) -> Iterator[Packed | Failure]:
        """The people; at their end a look whether the unit is still as it was `before`.

        A slow worker (of a second driver, or thought dead) must not undo what came after it. Only
        then the previews are written: of the fits that were chosen.
        """
        self.drawn.clear()
        chosen: dict[str, bytes] = {}
        for item in people:
            if isinstance(item, Packed) and (picture := self.drawn.get(fingerprint(item))):
                chosen[item.key] = picture
            yield item
        if read_sidecar(self.store, unit) != before:
            raise ShardReplaced(f"unit {unit.id} was committed by another worker")
        for key, picture in chosen.items():
            self.store.write(f"previews/{key}.png", picture)

    def people(self, unit: Unit, kept: KeptSamples, again: set[str]) -> Iterator[Packed | Failure]:
        """Everyone of the unit, in order: kept from before, or fitted in batches."""
        old = {key for key in unit.keys if key not in again and kept.get(key) is not None}
        todo = [key for key in unit.keys if key not in old]
        ahead = self.stage.prefetch + self.stage.batch - 1 if self.stage.prefetch else 0
        samples = decoded(self.views, todo, ahead)
        ready: dict[str, Packed | Failure] = {}
        for key in unit.keys:
            if key in old:
                found = kept.get(key)
                if found is None:
                    raise ShardReplaced(f"unit {unit.id}: its shard went while it was read")
                yield found
                continue
            if key not in ready:
                start = todo.index(key)
                batch = todo[start : start + self.stage.batch]
                ready |= self.group(batch, samples, kept, again)
            yield ready.pop(key)

    def group(
        self,
        keys: Sequence[str],
        samples: Iterator[record.ViewsSample | Failure],
        kept: KeptSamples,
        again: set[str],
    ) -> dict[str, Packed | Failure]:
        """A batch of people; a refit is compared with the fit before, or with one made anew."""
        begin = time.perf_counter()
        batch = [next(samples) for _ in keys]
        self.waited += time.perf_counter() - begin
        out: dict[str, Packed | Failure] = {}
        good = [item for item in batch if isinstance(item, record.ViewsSample)]
        out |= {item.key: item for item in batch if isinstance(item, Failure)}
        begin = time.perf_counter()
        before = {key: kept.get(key) for key in again.intersection(keys)}
        first = [item for item in good if before.get(item.key) is None]
        for sample, fit in zip(first, self.fit(first, False), strict=True):
            out[sample.key] = fit
        second = [item for item in good if item.key in again]
        names = [item.key for item in second]
        long = dict(zip(names, self.fit(second, True), strict=True))
        for key, found in before.items():
            old = found or out[key]
            if isinstance(old, Packed):
                out[key] = better(old, long.get(key) or out[key], self.limit)
        self.work += time.perf_counter() - begin
        return out

    def fit(self, samples: list[record.ViewsSample], long: bool) -> list[Packed | Failure]:
        from rodin.fit import fit_many

        if not samples:
            return []
        engine = self.stage.engine
        if long:
            steps = round(engine.steps * self.stage.refit_factor)
            engine = dataclasses.replace(engine, steps=steps)
        seeds = [self.stage.seed + int(long) + seed_of(sample.key) for sample in samples]
        views = [to_views(sample) for sample in samples]
        results = fit_many(views, self.decoder, engine, seeds=seeds, measure=False)
        return [
            Failure(sample.key, str(result), type(result).__name__)
            if isinstance(result, ValueError)
            else self.packed(sample, item, result)
            for sample, item, result in zip(samples, views, results, strict=True)
        ]

    def packed(self, sample: record.ViewsSample, views: Any, result: Any) -> Packed:
        """The sample as it is stored; its metrics are of the stored planes, in half precision."""
        import torch

        from rodin.fit import measured

        key, engine = sample.key, self.stage.engine
        planes = result.planes.cpu().numpy().astype(np.float16)
        stored = torch.from_numpy(planes.astype(np.float32)).to(self.device)
        _, held_out = views.split(engine.held_out)
        metrics = measured(stored, self.decoder, held_out, engine, self.features)
        if self.stage.vgg_weights:
            metrics["lpips"] = metrics.pop("features")
        metrics |= {"outlier": 0.0, "refits": 0.0}
        row = quality.strips(
            stored, self.decoder, held_out, count=PREVIEW_VIEWS, samples=engine.render_samples
        )
        count = min(self.stage.views_kept, len(views))
        chosen = np.linspace(0, len(views), count, endpoint=False).astype(int)  # round the head
        meta = {
            **{name: sample.meta[name] for name in META if name in sample.meta},
            "decoder": self.identity["decoder"],
            "settings": settings_hash(self.identity),
            "metrics": metrics,
        }
        packed = record.TriplaneSample(
            key=key,
            meta=meta,
            triplane=planes,
            portrait=sample.rgba[0],
            rgba=sample.rgba[chosen],
            camera_to_world=sample.camera_to_world[chosen],
            intrinsics=sample.intrinsics[chosen],
        )
        found = Packed(
            key,
            record.encode(packed),
            metrics=metrics,
            attributes=sample.meta.get("attributes", {}),
            stats=channel_stats(planes),
        )
        self.drawn[fingerprint(found)] = quality.sheet([row], [])
        return found


def fingerprint(fit: Packed) -> str:
    """Names a fit by its planes: marks and metrics are written into it later."""
    return sha256_hex(fit.members["triplane.npy"])


def better(before: Packed, after: Packed | Failure, limit: float) -> Packed:
    """The better of two fits of a person, marked: refits, psnr_first, and outlier when its PSNR
    stays under `limit` dB."""
    first = before.metrics["psnr"]
    second = -np.inf if isinstance(after, Failure) else after.metrics["psnr"]
    best = after if isinstance(after, Packed) and second > first else before
    marks = {"refits": 1.0, "psnr_first": first, "outlier": float(max(first, second) < limit)}
    metrics = {**best.metrics, **marks}
    meta = json.loads(best.members["meta.json"])
    members = {**best.members, "meta.json": models.canonical_json({**meta, "metrics": metrics})}
    return dataclasses.replace(best, members=members, metrics=metrics)
