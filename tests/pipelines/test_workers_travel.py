"""`python -m pipelines.STAGE` makes its module `__main__`: Ray then sends its classes whole."""

from __future__ import annotations

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
