"""Data sets are extended and merged without a loss, again after a crash, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from infra import edit, manifest
from infra.dataset import DatasetError, open_dataset
from infra.lease import LeaseTaken
from infra.shards import commit_unit, pending_units, plan_units
from infra.storage import FileStore
from infra.verify import verify
from tests.infra.people import (
    SETTINGS,
    flip,
    keys_of,
    make,
    planes_of,
    samples,
    tar_of,
    triplane_members,
)


def everything(store: FileStore) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.list()}


def test_extend_adds_and_touches_nothing_old(copy: FileStore, tmp_path: Path) -> None:
    old, before = open_dataset(copy).keys(), everything(copy)
    more = FileStore(tmp_path / "more")
    make(more, keys_of(1000, 11), poison=keys_of(1003, 1))
    info, written = edit.append(copy, [open_dataset(more)])
    grown, after = open_dataset(copy), everything(copy)
    made_again = {"manifest.parquet", "dataset.json", "README.md"}
    assert {k: v for k, v in after.items() if k in before and k not in made_again} == {
        k: v for k, v in before.items() if k not in made_again
    }
    assert written == len(open_dataset(more).info["shards"]["train"]) + len(
        open_dataset(more).info["shards"]["val"]
    )
    assert sorted(grown.keys()) == sorted([*old, *open_dataset(more).keys()])
    assert sorted(f["key"] for f in info["failures"]) == ["avatar_000004", "avatar_001003"]
    assert grown.read("avatar_001005") == triplane_members("avatar_001005")
    report = verify(grown)
    assert report.problems == [] and report.notes == []
    train = np.stack([planes_of(key).astype(np.float64) for key in grown.keys("train")])
    np.testing.assert_allclose(info["stats"]["mean"], train.mean((0, 1, 3, 4)), rtol=1e-12)
    assert len(info["lineage"]["merged"]) == 2 and "views" not in info["lineage"]
    assert edit.append(copy, [open_dataset(more)]) == (info, 0)  # again: nothing to do
    assert everything(copy) == after


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3])
def test_extend_goes_on_after_a_crash(copy: FileStore, tmp_path: Path, stop_at: int) -> None:
    more = FileStore(tmp_path / "more")
    make(more, keys_of(1000, 11))
    undisturbed = FileStore(tmp_path / "undisturbed")
    shutil.copytree(copy.root, undisturbed.root)

    class Dies(FileStore):
        left = stop_at

        def write(self, key: str, data: bytes) -> None:
            if key.endswith(".json") and Dies.left <= 0:
                raise KeyboardInterrupt
            Dies.left -= 1
            super().write(key, data)

    with pytest.raises(KeyboardInterrupt):
        edit.append(Dies(copy.root), [open_dataset(more)])
    other = FileStore(tmp_path / "other")
    make(other, keys_of(2000, 3))
    if len(open_dataset(copy)) == 17 and edit.receipts(open_dataset(copy))[1]:
        with pytest.raises(DatasetError, match="not finished; run that command again"):
            edit.append(copy, [open_dataset(other)])
    edit.append(copy, [open_dataset(more)])
    edit.append(undisturbed, [open_dataset(more)])
    for name in ("dataset.json", "manifest.parquet", "README.md"):
        assert copy.read(name) == undisturbed.read(name)
    assert verify(open_dataset(copy)).problems == []


def test_merge_makes_the_same_bytes_each_time(made: FileStore, any_store, tmp_path: Path) -> None:
    second = FileStore(tmp_path / "second")
    make(second, keys_of(1000, 5), shard_size=2)
    some = FileStore(tmp_path / "some")
    edit.select(open_dataset(made), some, keys_of(0, 3), "the first")
    parts = [open_dataset(some), open_dataset(second)]
    info, _ = edit.append(any_store, parts)
    merged = open_dataset(any_store)
    assert sorted(merged.keys()) == sorted([*keys_of(0, 3), *keys_of(1000, 5)])
    assert verify(merged).problems == [] and "shards_at" not in info
    twin, _ = edit.append(FileStore(tmp_path / "twin"), parts)
    assert twin == info
    assert any_store.read("contact.png") == second.read("contact.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"size": 9, "seed": 0}}, "settings.size is 9"),
        ({"decoder": b"others"}, r"files\.decoder"),
        ({"val_fraction": 0.5}, "val_fraction is 0.5"),
        ({"keys": keys_of(17, 3)}, "avatar_000017"),
    ],
)
def test_unlike_data_sets_are_not_merged(
    made: FileStore, tmp_path: Path, change: dict, words: str
) -> None:
    other = FileStore(tmp_path / "other")
    make(other, change.pop("keys", keys_of(1000, 3)), **change)
    out = FileStore(tmp_path / "out")
    with pytest.raises(DatasetError, match=words):
        edit.append(out, [open_dataset(made), open_dataset(other)])
    assert list(out.list()) == []


def test_a_damaged_source_stops_a_merge(copy: FileStore, tmp_path: Path) -> None:
    flip(copy, tar_of(copy), 900)
    out = FileStore(tmp_path / "out")
    more = FileStore(tmp_path / "more")
    make(more, keys_of(1000, 3))
    with pytest.raises(DatasetError, match="damaged"):
        edit.append(out, [open_dataset(copy), open_dataset(more)])
    assert not out.exists("dataset.json")


def test_selections_do_not_grow(made: FileStore, tmp_path: Path) -> None:
    some, more = FileStore(tmp_path / "some"), FileStore(tmp_path / "more")
    edit.select(open_dataset(made), some, keys_of(0, 3), "the first")
    make(more, keys_of(1000, 3))
    with pytest.raises(DatasetError, match="is a selection; merge it"):
        edit.append(some, [open_dataset(more)])


def test_wrong_splits_are_refused(tmp_path: Path) -> None:
    from infra.plan import Unit

    one, two = FileStore(tmp_path / "one"), FileStore(tmp_path / "two")
    make(one, keys_of(0, 3))
    wrong = [Unit("val" if u.split == "train" else "train", 0, u.keys) for u in _units(two)]
    for unit in wrong:
        commit_unit(two, unit, samples(unit.keys), settings=SETTINGS)
    two.write("decoder.safetensors", b"weights")
    manifest.finalize(
        two, dataset="triplanes", units=wrong, settings=SETTINGS,
        lineage={"val_fraction": 0.25}, files=["decoder.safetensors"],
    )  # fmt: skip
    with pytest.raises(DatasetError, match="which its hash does not say"):
        edit.append(FileStore(tmp_path / "out"), [open_dataset(one), open_dataset(two)])


def _units(store: FileStore) -> list:
    return [unit for unit in plan_units(keys_of(50, 8), 9, 0.25) if unit.index == 0]


def test_of_two_that_extend_at_once_one_is_refused(copy: FileStore, tmp_path: Path) -> None:
    """Nothing is lost: who is refused says so, and its samples are added by the next call."""
    parts = []
    for name, first in (("one", 1000), ("two", 2000)):
        make(FileStore(tmp_path / name), keys_of(first, 5))
        parts.append(open_dataset(FileStore(tmp_path / name)))
    second: list[BaseException] = []

    class Interleaved(FileStore):
        """Lets the second call begin in the midst of the first."""

        def put_file(self, path, key: str) -> None:
            if not second:
                with pytest.raises(LeaseTaken, match="adding samples to this data set") as refused:
                    edit.append(FileStore(self.root), [parts[1]])
                second.append(refused.value)
            super().put_file(path, key)

    edit.append(Interleaved(copy.root), [parts[0]])
    assert second
    edit.append(copy, [parts[1]])
    grown = open_dataset(copy)
    assert {*parts[0].keys(), *parts[1].keys(), *keys_of(0, 4)} <= set(grown.keys())
    report = verify(grown)
    assert report.problems == [] and report.notes == []


def test_a_stage_that_ends_in_between_is_noticed(copy: FileStore, tmp_path: Path) -> None:
    more = FileStore(tmp_path / "more")
    make(more, keys_of(1000, 5))

    class Changes(FileStore):
        def put_file(self, path, key: str) -> None:
            info = json.loads(self.read("dataset.json"))
            self.write("dataset.json", json.dumps({**info, "digest": "other"}).encode())
            super().put_file(path, key)

    with pytest.raises(DatasetError, match="was changed while samples were added"):
        edit.append(Changes(copy.root), [open_dataset(more)])


def test_a_stage_goes_on_after_extend(tmp_path: Path) -> None:
    """More people after others were added: every shard stays, none is planned anew."""
    store, more = FileStore(tmp_path / "set"), FileStore(tmp_path / "more")
    make(store, keys_of(0, 10))
    make(more, keys_of(1000, 5))
    units, kept = edit.planned(store, keys_of(0, 12), 4, 0.25)
    assert kept == {} and units == plan_units(keys_of(0, 12), 4, 0.25)
    edit.append(store, [open_dataset(more)])
    before = everything(store)
    merged = open_dataset(store).info["lineage"]["merged"]
    units, kept = edit.planned(store, keys_of(0, 10), 4, 0.25)
    assert kept == {"merged": merged} and pending_units(store, units, SETTINGS) == []
    units, kept = edit.planned(store, keys_of(0, 14), 4, 0.25)
    todo = pending_units(store, units, SETTINGS)
    assert sorted(key for unit in todo for key in unit.keys) == keys_of(10, 4)
    commit_unit(store, todo[0], samples(todo[0].keys), settings=SETTINGS)  # then it is killed
    units, _ = edit.planned(store, keys_of(0, 14), 4, 0.25)
    assert pending_units(store, units, SETTINGS) == todo[1:]
    for unit in todo[1:]:
        commit_unit(store, unit, samples(unit.keys), settings=SETTINGS)
    lineage = {"val_fraction": 0.25, **kept}
    manifest.finalize(
        store, dataset="triplanes", units=units, settings=SETTINGS, lineage=lineage,
        files=["decoder.safetensors"], contact_sheet="contact.png",
    )  # fmt: skip
    grown = open_dataset(store)
    assert sorted(grown.keys()) == sorted([*keys_of(0, 14), *keys_of(1000, 5)])
    assert verify(grown).problems == []
    after = everything(store)
    assert all(after[key] == before[key] for key in before if key.endswith(".tar"))
    again, _ = edit.append(store, [open_dataset(more)])
    assert again == grown.info
