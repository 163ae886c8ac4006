"""What a training keeps of itself: its curve, its speed, and looks at people it does not see."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from infra.storage import Store
from infra.tracking import Tracking, TrackingError
from pipelines import data, models
from pipelines.settings import TrainStage


class History:
    """The curve: kept in the run and sent to MLflow, each point once."""

    def __init__(self, store: Store, tracking: Mapping[str, Any], seen: int) -> None:
        """`tracking`: arguments of Tracking; `seen`: the samples that training goes on from."""
        self.store = store
        old = store.read("history.jsonl").splitlines() if store.exists("history.jsonl") else []
        rows = [json.loads(line) for line in old if line]
        # What came after the checkpoint is computed again, to the same numbers.
        self.rows = [row for row in rows if row["samples"] <= seen]
        self.tracking = Tracking(**tracking)
        self.sent = self.tracking.last_step("loss")
        for row in self.rows:  # what waited for MLflow when an earlier launch was killed
            self.send(row)

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        self.send(row)

    def send(self, row: dict[str, float]) -> None:
        """To MLflow, unless it has the point."""
        if row["samples"] > self.sent:
            values = {name: value for name, value in row.items() if name != "samples"}
            self.tracking.log_metrics(values, step=int(row["samples"]))

    def picture(self, name: str, data: bytes) -> None:
        """Keeps a picture in the run, and in MLflow unless that is away: training goes on."""
        self.store.write(name, data)
        try:
            self.tracking.log_artifact(data, name)
        except TrackingError as error:
            print(f"{error}; {self.store.location(name)} has it", file=sys.stderr)

    def save(self) -> None:
        lines = (json.dumps(row, sort_keys=True) + "\n" for row in self.rows)
        self.store.write("history.jsonl", "".join(lines).encode())


class Meter:
    """Means of the losses, and the speed, since the last point of the curve.

    What comes between two steps (validation, sheets, checkpoints) counts as no time.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps, self.waited, self.worked = 0, 0.0, 0.0

    def step(self, trainer: Any, feed: Iterator[dict[str, Any]]) -> None:
        """Takes a batch and a step, and looks at the clock around both."""
        begin = time.perf_counter()
        items = next(feed)
        ready = time.perf_counter()
        for name, value in trainer.step(items).items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.steps += 1
        self.waited += ready - begin
        self.worked += time.perf_counter() - ready

    def row(self, seen: int, batch: int) -> dict[str, float]:
        took = self.waited + self.worked
        row = {name: value / self.steps for name, value in self.sums.items()}
        row |= {
            "samples": float(seen),
            "samples_per_second": self.steps * batch / took,
            "input_wait_share": self.waited / took,
        }
        return row


class Watch:
    """What rank 0 looks at: losses and pictures of people that training does not see."""

    def __init__(self, stage: TrainStage, samples: data.TriplaneSamples) -> None:
        self.seed = stage.seed
        self.held_out = data.first(samples.shards, "val", stage.val_samples)
        self.shown = self.held_out
        if self.shown is None:
            self.shown = data.first(samples.shards, "train", stage.val_samples)
        self.decoder = models.load_decoder(samples.shards.store)

    def losses(self, system: Any) -> dict[str, float]:
        from rodin.validation import losses_by_noise

        if self.held_out is None:
            return {}
        return losses_by_noise(system, self.held_out, seed=self.seed)

    def sheet(self, system: Any) -> bytes:
        from pipelines import sheets

        assert self.shown is not None
        return sheets.draw(system, self.shown, self.decoder)
