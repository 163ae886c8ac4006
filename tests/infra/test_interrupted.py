"""Kills at the moments that a whole run passes only once: between the last commit and the seal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.manifest import is_final
from infra.plan import plan_units
from infra.shards import commit_unit
from infra.storage import FileStore
from tests.infra.people import SETTINGS, flip, keys_of, make, samples


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Eight people, the fifth a poison item."""
    made = FileStore(tmp_path / "data")
    make(made, keys_of(0, 8), poison=keys_of(4, 1))
    return made


def commit(store: FileStore, count: int, poison: list[str]) -> list:
    """All units of a plan of `count` people; no manifest."""
    units = plan_units(keys_of(0, count), 4, 0.25)
    for unit in units:
        commit_unit(store, unit, samples(unit.keys, poison), settings=SETTINGS)
    return units


def test_a_finished_data_set_is_final(store: FileStore) -> None:
    assert is_final(store, plan_units(keys_of(0, 8), 4, 0.25))


def test_more_people_or_a_retry_without_a_manifest_are_not_final(
    store: FileStore, tmp_path: Path
) -> None:
    shutil.copytree(store.root, tmp_path / "more")
    more = FileStore(tmp_path / "more")
    assert not is_final(more, commit(more, 12, keys_of(4, 1)))
    units = commit(store, 8, [])  # the poison item was mended
    assert not is_final(store, units)
    make(store, keys_of(0, 8))
    assert is_final(store, units)
    assert not is_final(store, commit(store, 8, keys_of(4, 1)))  # and broke again


def test_a_fully_failed_unit_counts(tmp_path: Path) -> None:
    """It has no shard whose name could differ."""
    store, keys = FileStore(tmp_path / "data"), keys_of(0, 2)
    make(store, keys, poison=keys[:1], shard_size=1, val_fraction=0.0)
    units = plan_units(keys, 1, 0.0)
    assert is_final(store, units)
    commit_unit(store, units[0], samples(units[0].keys), settings=SETTINGS)
    assert not is_final(store, units)


@pytest.mark.parametrize("name", ["dataset.json", "manifest.parquet"])
def test_a_lost_or_damaged_seal_is_not_final(store: FileStore, name: str) -> None:
    units = plan_units(keys_of(0, 8), 4, 0.25)
    flip(store, name, 3)
    assert not is_final(store, units)
    store.delete(name)
    assert not is_final(store, units)
