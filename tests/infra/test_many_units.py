"""Thousands of units: the driver's memory stays flat and a unit costs little (`bench_units.py`)."""

from __future__ import annotations

import sys

from ray import cloudpickle

from tests.benchmarks import bench_units


def test_many_no_op_units_keep_memory_flat(ray_local: None) -> None:
    """The time of a unit is the benchmark's business: this one has other tests beside it."""
    cloudpickle.register_pickle_by_value(sys.modules[bench_units.__name__])
    found = bench_units.measure(60, actors=1)
    memory = found["memory"]
    assert len(memory) == 10
    assert memory[-1] - memory[0] < 20
    assert 0 < found["ms_per_unit"] < 1000


def test_units_are_shards_of_four() -> None:
    units = bench_units.units(3)
    assert [unit.id for unit in units] == ["train/000000", "train/000001", "train/000002"]
    assert len({key for unit in units for key in unit.keys}) == 12
