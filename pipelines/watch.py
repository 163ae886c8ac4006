"""What a training keeps of itself: its curve, its speed, and looks at people it does not see."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from infra.storage import Store
from infra.tracking import Tracking, TrackingError
from pipelines import data, latents, models
from pipelines.settings import TrainStage

SECTIONS = {
    "rate": "optimizer", "grad_norm": "optimizer",
    "samples_per_second": "speed", "input_wait_share": "speed",
}  # fmt: skip


def shown(name: str) -> str:
    """A column's name in MLflow, whose page has a section of charts for each prefix."""
    if name.startswith("val_"):
        return f"val/{name.removeprefix('val_')}"
    return f"{SECTIONS[name]}/{name}" if name in SECTIONS else name


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
    """What rank 0 keeps: the curve, each point once in MLflow, and looks at people held out."""

    def __init__(
        self,
        store: Store,
        stage: TrainStage,
        samples: data.TriplaneSamples | latents.LatentSamples,
        tracking: Mapping[str, Any],
        seen: int,
    ) -> None:
        """`tracking`: arguments of Tracking; `seen`: the samples that training goes on from."""
        self.store, self.seed = store, stage.seed
        self.samples, self.held_out = samples, samples.held_out(stage.val_samples)
        old = store.read("history.jsonl").splitlines() if store.exists("history.jsonl") else []
        rows = [json.loads(line) for line in old if line]
        # What came after the checkpoint is computed again, to the same numbers.
        self.rows = [row for row in rows if row["samples"] <= seen]
        self.tracking = Tracking(**tracking)
        self.sent = self.tracking.last_step("loss")
        for row in self.rows:  # what waited for MLflow when an earlier launch was killed
            self._send(row)

    def point(self, row: dict[str, float], system: Any = None) -> None:
        """A point of the curve, with the losses of held-out people under an averaged system."""
        from rodin.validation import losses_by_noise

        if system is not None and self.held_out is not None:
            row = row | losses_by_noise(system, self.held_out, seed=self.seed)
        self.rows.append(row)
        self._send(row)

    def _send(self, row: dict[str, float]) -> None:
        """To MLflow, unless it has the point."""
        if row["samples"] > self.sent:
            values = {shown(name): value for name, value in row.items() if name != "samples"}
            self.tracking.log_metrics(values, step=int(row["samples"]))

    def sheet(self, seen: int, system: Any) -> None:
        """The sample sheet, in the run and in MLflow; where that is away training goes on."""
        from pipelines import sheets

        assert not isinstance(self.samples, latents.LatentSamples)  # no pictures
        people = self.held_out
        if people is None:
            people = self.samples.first("train", sheets.PEOPLE)
        name = f"sheets/{seen:012d}.png"
        picture = sheets.draw(system, people, models.load_decoder(self.samples.shards.store))
        self.store.write(name, picture)
        try:
            self.tracking.log_artifact(picture, name)
        except TrackingError as error:
            print(f"{error}; {self.store.location(name)} has it", file=sys.stderr)

    def save(self) -> None:
        """Writes the curve."""
        lines = (json.dumps(row, sort_keys=True) + "\n" for row in self.rows)
        self.store.write("history.jsonl", "".join(lines).encode())
