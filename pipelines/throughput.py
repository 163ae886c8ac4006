"""How fast a stage goes and what share of its workers' time is work: a line for people, MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from infra.tracking import Tracking


class Throughput:
    """Sums over the results of units: samples, failures, seconds, work, waited, idle.

    `work` is time in which a worker's device fits and measures; `waited` for decoded views; `idle`
    between two units; what is left of `seconds` is packing and storage. All that is not work is
    the overhead of the orchestration.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self.samples = self.units = 0
        self.wall = self.work = self.waited = self.idle = self.held = 0.0

    def take(self, results: Iterable[dict[str, Any]], *, again: bool = False) -> None:
        """Consumes the results of some units as they come; a point a unit goes to MLflow.

        `again`: their samples were counted before, their time was not.
        """
        begin = time.perf_counter()
        before = self.wall
        for result in results:
            self.units += 1
            if not again:
                self.samples += result["samples"] + result["failures"]
            self.work += result["work"]
            self.waited += result["waited"]
            self.idle += result["idle"]
            self.held += result["seconds"] + result["idle"]
            self.wall = before + time.perf_counter() - begin
            self.tracking.log_metrics({"shards_done": self.units, **self.facts()}, step=self.units)

    def facts(self) -> dict[str, float]:
        """avatars_per_hour by the clock, from before the workers start; busy, the share of the
        workers' time that is work; overhead, all else over work; wait, the wait for views alone.
        Empty before the first unit."""
        if not (self.wall and self.work and self.held):
            return {}
        return {
            "avatars_per_hour": 3600 * self.samples / self.wall,
            "device_seconds_per_avatar": self.work / max(1, self.samples),
            "busy": self.work / self.held,
            "overhead": (self.held - self.work) / self.work,
            "wait": self.waited / self.work,
        }

    def line(self) -> str:
        facts = self.facts()
        if not facts:
            return ""
        return (
            f"{facts['avatars_per_hour']:.0f} avatars/hour,"
            f" {facts['device_seconds_per_avatar']:.1f} s of a worker each, device busy"
            f" {facts['busy']:.1%}, overhead {facts['overhead']:.1%} of fitting"
            f" (waiting for views {facts['wait']:.1%})"
        )
