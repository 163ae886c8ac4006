"""1, 8 and 64 nodes, simulated: what waiting for the driver and for the last shards costs.

A discrete-event simulation of `infra.cluster.run_units`: the units of the real planner
(`infra.plan.plan_units`, presets, `pipelines.work`), each worker with at most two units in flight,
the next unit to the worker with the fewest, and one driver that spends some milliseconds on every
unit. Seconds a person are the planner's, times how much those differed that a real run recorded in
its sidecars (`--measured RUN`; default: a demo of 16 people), drawn at random. Ray itself cannot
run here with 64 nodes; how well the simulation tells what it does is printed first: both for a few
units that sleep, on two workers.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra import cluster
from infra.plan import SPLITS, Unit, plan_units
from infra.storage import open_store
from pipelines.presets import PRESETS
from pipelines.work import fit_seconds, render_seconds

IN_FLIGHT = 2  # units of a worker, as `infra.cluster` has it
DRIVER = 0.020  # seconds of the driver a unit: the bar of bench_units.py, some more than measured
# Workers of a node: of 16 cores for the demo's sizes, of 16 cores and 8 GPUs for the paper's.
WORKERS = {
    ("demo", "render"): 16, ("demo", "fit"): 16, ("paper", "render"): 4, ("paper", "fit"): 8
}  # fmt: skip
START = 60.0  # seconds until a worker has its imports, decoder and Blender
# Seconds a person of a demo run of 16 people on two busy cores.
RECORDED = {
    "render": [27.4, 19.2, 24.4, 20.8, 20.2, 21.5, 18.1, 21.0, 15.7],
    "fit": [13.0, 11.3, 13.3, 11.7, 11.3, 11.4, 10.7, 11.1, 10.8],
}


@dataclass(frozen=True)
class Times:
    """Of a simulated stage, in seconds."""

    end: float  # from the first start of a worker to the last result
    work: float  # of all workers together
    driver: float  # in which the driver was busy

    def efficiency(self, workers: int) -> float:
        return self.work / (workers * self.end)


def simulate(
    seconds: Sequence[float], workers: int, *, driver: float = DRIVER, start: float = START
) -> Times:
    """Units of so many seconds, in this order, on a pool of workers."""
    todo = deque(seconds)
    flying, queues = [0] * workers, [deque[float]() for _ in range(workers)]
    idle = [True] * workers
    free = [(0, worker) for worker in range(workers)]  # (units in flight, worker), may be outdated
    events: list[tuple[float, int, str, int, float]] = []
    number, now, driver_free, busy = 0, start, start, 0.0

    def occupy() -> float:
        nonlocal driver_free, busy
        driver_free, busy = max(driver_free, now) + driver / 2, busy + driver / 2
        return driver_free

    def push(at: float, kind: str, worker: int, length: float = 0.0) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at, number, kind, worker, length))

    def dispatch() -> None:
        while todo and free:
            count, worker = heapq.heappop(free)
            if count != flying[worker] or count >= IN_FLIGHT:
                continue
            flying[worker] += 1
            if flying[worker] < IN_FLIGHT:
                heapq.heappush(free, (flying[worker], worker))
            push(occupy(), "arrives", worker, todo.popleft())

    def begin(worker: int) -> None:
        idle[worker] = not queues[worker]
        if queues[worker]:
            push(now + queues[worker].popleft(), "done", worker)

    dispatch()
    while events:
        now, _, kind, worker, length = heapq.heappop(events)
        if kind == "arrives":
            queues[worker].append(length)
            if idle[worker]:
                begin(worker)
        elif kind == "done":
            push(occupy(), "told", worker)
            begin(worker)
        else:
            flying[worker] -= 1
            heapq.heappush(free, (flying[worker], worker))
            dispatch()
    return Times(now, math.fsum(seconds), busy)


class Sleeper:
    """A unit is slept through: its length stands in its only key, in milliseconds."""

    def __call__(self, unit: Unit) -> dict[str, Any]:
        begin = time.perf_counter()
        time.sleep(int(unit.keys[0]) / 1000)
        return {"unit": unit.id, "seconds": time.perf_counter() - begin}


def real(seconds: Sequence[float], workers: int) -> float:
    """Seconds from the first unit's begin to the last result, on a local Ray."""
    units = [Unit("train", i, (f"{round(1000 * s)}",)) for i, s in enumerate(seconds)]
    first = None
    for result in cluster.run_units(units, Sleeper, actors=workers, name="sleep", progress=False):
        if first is None:
            first = time.perf_counter() - result["seconds"]
    assert first is not None
    return time.perf_counter() - first


def recorded(run: str) -> dict[str, list[float]]:
    """Seconds a person of each shard of a run."""
    found: dict[str, list[float]] = {}
    for stage, part in (("render", "views"), ("fit", "triplanes")):
        store = open_store(run).child(part)
        names = [key for split in SPLITS for key in store.list(f"{split}/") if key.endswith("json")]
        sidecars = [json.loads(store.read(name)) for name in names]
        found[stage] = [s["seconds"] / len(s["rows"]) for s in sidecars if s["rows"]]
    return found


def lengths(preset: str, people: int, stage: str, spread: Sequence[float]) -> list[float]:
    """Seconds of every unit of a stage at a preset, on one worker of a node."""
    settings, rng = PRESETS[preset], random.Random(0)
    if stage == "render":
        each = render_seconds(settings, None) / settings.resources.cpus_per_worker
        size = settings.render.shard_size
    else:
        kind = "v100" if settings.resources.gpus_per_fit else ""
        each, size = fit_seconds(settings, kind, None), settings.fit.shard_size
    units = plan_units([f"{i:09d}" for i in range(people)], size, settings.render.val_fraction)
    mean = statistics.mean(spread)
    return [sum(each * rng.choice(spread) / mean for _ in unit.keys) for unit in units]


def rows(stage: str, units: Sequence[float], nodes: Sequence[int], workers: int) -> list[str]:
    """The lines of the table for a stage."""
    lines, alone = [], 0.0
    for count in nodes:
        times = simulate(units, count * workers)
        alone = alone or times.end * count
        work = f"{len(units):,} x {statistics.median(units):,.0f} s"
        lines.append(
            f"| {stage} | {work} | {count} x {workers} |"
            f" {times.end / 3600:,.1f} | {times.efficiency(count * workers):.1%} |"
            f" {alone / (count * times.end):.1%} | {times.driver / times.end:.1%} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["demo", "paper"])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--measured", default="", help="a run whose sidecars give the seconds")
    parser.add_argument("--no-ray", action="store_true", help="leaves the comparison out")
    args = parser.parse_args()
    seconds = recorded(args.measured) if args.measured else RECORDED
    if not args.no_ray:
        rng = random.Random(0)
        sleeps = [rng.uniform(0.2, 1.0) for _ in range(24)]
        with cluster.connect(address="local"):
            spent = real(sleeps, 2)
        told = simulate(sleeps, 2, start=0.0).end
        print(f"24 units that sleep, two workers: {spent:.2f} s on Ray, {told:.2f} s simulated\n")
    print("| stage | units | nodes x workers | hours | workers busy | of one node | driver busy |")
    print("|---|---|---|---|---|---|---|")
    for preset in args.presets:
        for stage, spread in seconds.items():
            units = lengths(preset, args.people, stage, spread)
            print(*rows(f"{stage}, {preset}", units, args.nodes, WORKERS[preset, stage]), sep="\n")


if __name__ == "__main__":
    main()
