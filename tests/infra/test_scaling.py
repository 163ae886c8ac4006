"""The simulation of many nodes: right where the answer is known, and a table with its bar."""

from __future__ import annotations

import random

import pytest

from tests.benchmarks import bench_scaling
from tests.benchmarks.bench_scaling import simulate


def free(seconds: list[float], workers: int) -> float:
    return simulate(seconds, workers, driver=0.0, start=0.0).end


def test_what_can_be_told_by_hand() -> None:
    assert free([3.0, 1.0, 1.0], 1) == 5
    assert free([1.0] * 12, 4) == 3
    # The last unit waits behind 5 on the worker that had room first; the other idles from 5 on.
    assert free([1.0, 4.0, 5.0, 1.0, 1.0], 2) == 7
    alone = simulate([0.0] * 10, 5, driver=2.0, start=0.0)
    assert (alone.end, alone.driver) == (20.0, 20.0)  # the driver does all one after the other
    times = simulate([10.0] * 8, 4, driver=0.0, start=5.0)
    assert times.end == 25 and times.efficiency(4) == pytest.approx(0.8)


def test_never_faster_than_possible_nor_slower_than_one_unit_more() -> None:
    rng = random.Random(0)
    for _ in range(50):
        workers = rng.randrange(1, 9)
        seconds = [rng.uniform(0.1, 3.0) for _ in range(rng.randrange(1, 60))]
        end = free(seconds, workers)
        least = max(sum(seconds) / workers, *seconds)
        # a worker may hold one unit while others are idle
        assert least - 1e-9 <= end <= sum(seconds) / workers + 2 * max(seconds)


def test_64_nodes_keep_nine_tenths_at_the_published_scale() -> None:
    for stage in ("render", "fit"):
        units = bench_scaling.lengths("paper", 100_000, stage, bench_scaling.RECORDED[stage])
        assert len(units) > 64 * bench_scaling.WORKERS["paper", stage] * 3
        workers = 64 * bench_scaling.WORKERS["paper", stage]
        assert simulate(units, workers).efficiency(workers) > 0.9
    # The simulation can say no: shards of seconds on a thousand workers wait for the driver.
    assert simulate([5.0] * 20_000, 1024).efficiency(1024) < 0.5
