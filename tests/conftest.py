"""Fixtures that the whole session shares: they are slow to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before Ray is imported anywhere: no usage report, no colours in captured text.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first and the faults last: they would slow each other down."""
    items.sort(key=lambda item: ("/chaos/" in str(item.path)) - ("/integration/" in str(item.path)))


@pytest.fixture(scope="session")
def asset_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the body model is baked, once for all tests of a session."""
    return tmp_path_factory.mktemp("assets")


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """One local Ray for all tests that need one (it takes about 20 s to start)."""
    from infra import cluster

    with cluster.connect(address="local"):
        yield
