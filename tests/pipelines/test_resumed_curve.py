"""A killed training's curve in MLflow: the next launch sends what was lost, and nothing twice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from infra.manifest import open_dataset
from infra.storage import open_store
from infra.tracking import Tracking
from pipelines.data import TriplaneSamples
from pipelines.presets import TINY
from pipelines.watch import Watch
from tests.pipelines import small_run


def steps(watch: Watch) -> list[int]:
    watch.tracking.flush()
    client = watch.tracking._client
    return [point.step for point in client.get_metric_history(watch.tracking.run_id, "loss")]


def row(samples: int) -> dict[str, float]:
    return {"samples": float(samples), "loss": 1.0 / samples}


def test_points_that_waited_at_the_kill_are_sent_by_the_next_launch(tmp_path: Path) -> None:
    """The server was away from 16 samples on; a checkpoint at 48 kept the points."""
    store = open_store(str(small_run.make(tmp_path / "run")))
    samples = TriplaneSamples(open_dataset(store.child("triplanes")), "train")
    run = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "rodin-train-base", "run").arguments()

    def launch(seen: int) -> Any:
        return Watch(store.child("models/base"), TINY.base, samples, run, seen)

    first = launch(0)
    first.point(row(16))
    assert steps(first) == [16]
    first.tracking._next_try = math.inf
    for seen in (32, 48):
        first.point(row(seen))
    first.save()
    first.point(row(64))  # after the checkpoint: computed again
    second = launch(48)
    second.point(row(64))
    assert steps(second) == [16, 32, 48, 64]
    third = launch(48)  # killed before the next checkpoint
    third.point(row(64))
    assert steps(third) == [16, 32, 48, 64]
