"""What the faults are done to: stages, how they are launched, and when two runs are equal."""

from __future__ import annotations

import functools
import importlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from infra.manifest import Dataset, finalize, open_dataset
from infra.plan import plan_units
from infra.shards import Packed, commit_unit
from infra.storage import Store, open_store
from rodin import record
from tests.chaos.services import BUCKET, World

HEADS = 6  # analytic people that the fit chain fits


@dataclass
class Chain:
    """A stage in its cheapest real form."""

    name: str
    module: str
    part: str  # what it writes, below the run
    words: tuple[str, ...]
    needs: str = ""  # whose undisturbed run it reads: a chain's name, or "heads"
    spread: float = (
        0.3  # seconds: a fault strikes so much later at most than the request it is tied to
    )
    kind: str = ""  # of comparison; "" = the name
    requests: int = 0  # of the undisturbed run
    seconds: float = 0.0  # of the undisturbed run
    reference: str = ""  # its address

    def argv(self, world: World, out: str) -> list[str]:
        common = ["--out", out, "--address", world.address, "--tracking", world.tracking]
        return [*self.words, *common]


@dataclass
class Verdict:
    """How a disturbed run differs from the undisturbed one."""

    lost: int = 0
    doubled: int = 0
    equal: bool = True
    why: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        self.equal = False
        self.why.append(text)

    @property
    def good(self) -> bool:
        return self.equal and not self.lost and not self.doubled


CHAINS = (
    Chain("numbers", "tests.chaos.stage", "numbers", ()),
    Chain(
        "fit", "pipelines.fit", "triplanes", (
            "--preset", "tiny", "fit.engine.steps=12", "fit.engine.decoder-steps=40",
            "fit.engine.rays-per-step=256", "fit.prefetch=1", "fit.outlier-psnr=0",
            "resources.workers=2",
        ), needs="heads", spread=1.5,
    ),
    Chain(
        "train", "pipelines.train", "models/base", (
            "--preset", "tiny", "--stage", "base", "base.train.total-samples=192",
            "resources.cpus-per-train-worker=1",
        ), needs="fit", spread=1.5,
    ),
    Chain(
        "render", "pipelines.render", "views", (
            "--preset", "tiny", "render.avatars=4", "render.views=4", "render.size=32",
            "resources.workers=2", "--assets", os.path.expanduser("~/.cache/rodin"),
        ), spread=4.0,
    ),
    # The demo's own networks and planes, for fewer steps.
    Chain(
        "demo-fit", "pipelines.fit", "triplanes", (
            "--preset", "demo", "fit.engine.steps=60", "fit.engine.decoder-steps=120",
            "fit.prefetch=1", "fit.outlier-psnr=0", "resources.workers=2",
        ), needs="heads", spread=3.0, kind="fit",
    ),
    Chain(
        "demo-train", "pipelines.train", "models/base", (
            "--preset", "demo", "--stage", "base", "base.train.total-samples=320",
            "base.checkpoint-every=80", "base.log-every=40", "base.val-every=320",
            "base.sheet-every=320", "resources.cpus-per-train-worker=1",
        ), needs="demo-fit", spread=3.0, kind="train",
    ),
)  # fmt: skip


def launched(module: str, argv: list[str], log: str, environment: dict[str, str]) -> None:
    """A driver: what `python -m MODULE ARGV` does, in a process that has its imports already."""
    os.setsid()
    os.environ |= environment
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    importlib.import_module(module).main(argv)


def make_heads(out: str) -> None:
    """Views of analytic heads, as the render stage leaves them."""
    from tests.rodin import scenes

    keys = [f"{i:09d}" for i in range(HEADS)]
    store, units = open_store(out).child("views"), plan_units(keys, 2, 0.3)
    for unit in units:
        people = []
        for key in unit.keys:
            views = scenes.views(seed=int(key), count=8, size=32, samples=2)
            sample = record.ViewsSample(
                key, {"seed": int(key)}, views.camera_to_world, views.intrinsics, views.rgba,
                views.depth,
            )  # fmt: skip
            people.append(Packed(key, record.encode(sample)))
        commit_unit(store, unit, people, settings={})
    finalize(store, dataset="views", units=units, settings={}, lineage={"val_fraction": 0.3})


def copy(source: Store, target: Store) -> None:
    for key in list(source.list()):
        target.write(key, source.read(key))


def compare(chain: Chain, world: World, out: str) -> Verdict:
    """The finished run at `out` against the undisturbed one."""
    kind = chain.kind or chain.name
    if kind == "train":
        return compare_models(chain, world, out)
    found, wanted = (
        open_dataset(open_store(uri).child(chain.part)) for uri in (out, chain.reference)
    )
    verdict = Verdict()
    keys = found.keys()
    verdict.lost = len(set(wanted.keys()) - set(keys))
    verdict.doubled = len(keys) - len(set(keys))
    if found.info["failures"]:
        verdict.differ(f"failures: {found.info['failures'][0]}")
    if kind == "render":
        compare_views(found, wanted, verdict)
        return verdict
    for name in ("manifest.parquet", "dataset.json", "README.md", "contact.png"):
        if kind == "numbers" and name == "contact.png":
            continue
        if found.store.read(name) != wanted.store.read(name):
            verdict.differ(f"{name} differs")
    for split in ("train", "val"):
        for name in wanted.shards(split):
            if not found.store.exists(name) or found.store.read(name) != wanted.store.read(name):
                verdict.differ(f"{name} differs or is gone")
    return verdict


def compare_views(found: Dataset, wanted: Dataset, verdict: Verdict) -> None:
    """The denoiser may differ by a grey level; keys, splits, geometry and cameras may not."""
    there = set(found.keys())
    for row in wanted.rows():
        key = row["key"]
        if key not in there:
            continue
        if found.row(key)["split"] != row["split"]:
            verdict.differ(f"{key} changed its split")
        a, b = (record.decode_views(data.read(key)) for data in (found, wanted))
        if a.meta["geometry_sha256"] != b.meta["geometry_sha256"]:
            verdict.differ(f"{key} has another geometry")
        if not np.array_equal(a.camera_to_world, b.camera_to_world):
            verdict.differ(f"{key} has other cameras")
        gap = np.abs(a.rgba.astype(float) - b.rgba).mean()
        if gap > 1.0:
            verdict.differ(f"{key}: pixels differ by {gap:.2f} / 255 in the mean")


def compare_models(chain: Chain, world: World, out: str) -> Verdict:
    """Weights and curve; in MLflow one run with each point once."""
    verdict = Verdict()
    found, wanted = (open_store(uri).child(chain.part) for uri in (out, chain.reference))
    for name in ("model.safetensors", "model.json", "latents.safetensors"):
        if found.read(name) != wanted.read(name):
            verdict.differ(f"{name} differs")
    curves = [
        [
            (row["samples"], row["loss"])
            for row in map(json.loads, store.read("history.jsonl").splitlines())
        ]
        for store in (found, wanted)
    ]
    if curves[0] != curves[1]:
        verdict.differ(f"curve differs: {curves[0][-3:]}, wanted {curves[1][-3:]}")
    steps = points(world, json.loads(found.read("mlflow.json"))["run"])
    verdict.doubled = len(steps) - len(set(steps))
    verdict.lost = len({int(samples) for samples, _ in curves[1]} - set(steps))
    if verdict.lost or verdict.doubled:
        verdict.why.append(f"MLflow has points at {steps}")
    return verdict


def curve(store: Store) -> list[tuple[float, float]]:
    rows = map(json.loads, store.read("history.jsonl").splitlines())
    return [(row["samples"], row["loss"]) for row in rows]


def points(world: World, run: str) -> list[int]:
    from mlflow import MlflowClient

    history = MlflowClient(world.tracking).get_metric_history(run, "loss")
    return sorted(point.step for point in history)


def prepare(chain: Chain, chains: dict[str, Chain], out: str) -> None:
    """What the stage reads, in place."""
    if chain.needs == "heads":
        heads(out)
    elif chain.needs:
        before = chains[chain.needs]
        copy(*(open_store(uri).child(before.part) for uri in (before.reference, out)))


@functools.cache
def _heads_once() -> str:
    out = f"s3://{BUCKET}/heads"
    make_heads(out)
    return out


def heads(out: str) -> None:
    copy(open_store(_heads_once()).child("views"), open_store(out).child("views"))


def log_tail(path: Path, lines: int = 12) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def plain(value: Any) -> str:
    return " ".join(str(value).split())[:200]
