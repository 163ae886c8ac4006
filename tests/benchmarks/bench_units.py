"""Orchestration: what a unit of work costs, and how the driver's memory grows (`make bench`).

No-op units go through the pipeline that renders and fits (`infra.cluster.run_units`, a local Ray):
milliseconds a unit between the first and the last result, and the driver's resident memory after
each tenth of them. Bars: under 20 ms a unit, memory flat.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from infra import cluster
from infra.plan import Unit

MB = 1 << 20


class NoOp:
    """A worker that does nothing with a unit."""

    def __call__(self, unit: Unit) -> dict[str, Any]:
        return {"unit": unit.id, "samples": len(unit.keys), "failures": 0, "seconds": 0.0}


def resident() -> float:
    """MB of memory that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / MB


def units(count: int) -> list[Unit]:
    """Shards of four keys, as a fit has them."""
    return [Unit("train", i, tuple(f"{4 * i + k:09d}" for k in range(4))) for i in range(count)]


def measure(count: int, actors: int) -> dict[str, Any]:
    """ms_per_unit; seconds until the first result; memory MB after each tenth of the units."""
    begin = time.perf_counter()
    first, memory = 0.0, []
    step = max(1, count // 10)
    results = cluster.run_units(units(count), NoOp, actors=actors, name="no-op", progress=False)
    for done, _ in enumerate(results, 1):
        if done == 1:
            first = time.perf_counter()
        if done % step == 0:
            memory.append(resident())
    seconds = time.perf_counter() - first
    return {
        "ms_per_unit": 1000 * seconds / max(1, count - 1),
        "first_s": first - begin,
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--actors", type=int, default=2)
    args = parser.parse_args()
    print("| no-op units | first result s | ms a unit | driver MB at 10 % | at 50 % | at the end |")
    print("|---|---|---|---|---|---|")
    with cluster.connect(address="local"):
        for count in args.units:
            found = measure(count, args.actors)
            memory = found["memory"]
            print(
                f"| {count:,} | {found['first_s']:.1f} | {found['ms_per_unit']:.1f} |"
                f" {memory[0]:.0f} | {memory[len(memory) // 2]:.0f} | {memory[-1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
