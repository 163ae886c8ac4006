"""`python -m pipelines.STAGE` makes its module `__main__`: Ray then sends its classes whole."""

from __future__ import annotations

import runpy
import sys

import pytest

from pipelines.fit_worker import FitWorker
from pipelines.render import RenderWorker
from pipelines.sample import SampleWorker


@pytest.mark.parametrize("worker", [RenderWorker, FitWorker, SampleWorker])
def test_a_worker_travels_by_value(worker: type) -> None:
    from ray import cloudpickle

    module = sys.modules[worker.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        assert cloudpickle.dumps(worker)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_the_sampling_command_makes_units_that_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit is pickled by the name of its class, which must not be `__main__`'s."""
    seen = []
    monkeypatch.setattr("pipelines.sample.main", lambda: seen.append(SampleWorker.__module__))
    monkeypatch.setattr(sys, "argv", ["sample"])
    runpy.run_module("pipelines.sample", run_name="__main__")
    assert seen == ["pipelines.sample"]
