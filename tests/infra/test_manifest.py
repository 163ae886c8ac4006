"""A finished dataset reads back, by us and by others' tools, and says what is wrong with it."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from infra import manifest, shards
from infra.manifest import DatasetError, open_dataset
from infra.shards import Failure, Packed
from infra.storage import FileStore, Store
from rodin import record

SETTINGS = {"size": 8, "seed": 0}
KEYS = [f"avatar_{index:06d}" for index in range(7)]


def planes_of(key: str) -> np.ndarray:
    seed = int(key[-3:])
    return np.random.default_rng(seed).normal(seed, 2.0, (3, 4, 8, 8)).astype(np.float16)


def triplane_sample(key: str) -> dict[str, bytes]:
    rgba = np.full((2, 6, 6, 4), 255, np.uint8)
    rgba[..., 0] = int(key[-3:])
    poses, lenses = np.tile(np.eye(4), (2, 1, 1)), np.tile(np.eye(3), (2, 1, 1))
    sample = record.TriplaneSample(
        key, {"psnr": 27.0}, planes_of(key), rgba[0], rgba, poses, lenses
    )
    return record.encode(sample)


def samples(unit: shards.Unit) -> Iterator[Packed | Failure]:
    for key in unit.keys:
        if key == KEYS[4]:
            yield Failure(key, "no hair", "BuildError")
            continue
        number = int(key[-3:])
        attributes = {"hair": "bob", "age": number if number % 2 else 0.5, "beard": False}
        if number == 2:
            attributes["glasses"] = "round"
        stats = shards.channel_stats(planes_of(key))
        yield Packed(key, triplane_sample(key), {"psnr": 20.0 + number}, attributes, stats)


def make(store: Store) -> tuple[list[shards.Unit], dict]:
    units = shards.plan_units(KEYS, 2, 0.3)
    for unit in units:
        shards.commit_unit(store, unit, samples(unit), settings=SETTINGS)
    store.write("decoder.safetensors", b"weights")
    store.write("contact.webp", b"picture")
    info = manifest.finalize(
        store, dataset="triplanes", units=units, settings=SETTINGS, lineage={"upstream": "abc"},
        files=["decoder.safetensors"], contact_sheet="contact.webp",
    )  # fmt: skip
    return units, info


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    store = FileStore(tmp_path_factory.mktemp("made"))
    make(store)
    return store


@pytest.fixture
def copy(made: FileStore, tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "copy")
    for key in made.list():
        store.write(key, made.read(key))
    return store


def test_reads_back_from_files_and_s3(any_store) -> None:
    make(any_store)
    dataset = pickle.loads(pickle.dumps(open_dataset(any_store)))
    assert len(dataset) == 6 and dataset.info["failures"][0]["key"] == KEYS[4]
    assert sorted(dataset.keys()) == sorted(set(KEYS) - {KEYS[4]})
    for split in shards.SPLITS:
        for row in dataset.rows(split):
            assert shards.split_of(row["key"], 0.3) == row["split"] == split
            assert row["shard"] in dataset.shards(split)
            members = dataset.read(row["key"])
            assert members == triplane_sample(row["key"])
            back = record.decode_triplane(members)
            np.testing.assert_array_equal(back.triplane, planes_of(row["key"]))


def test_statistics_are_those_of_the_train_split(made: FileStore) -> None:
    dataset = open_dataset(made)
    stack = np.stack([planes_of(key).astype(np.float64) for key in dataset.keys("train")])
    stats = dataset.info["stats"]
    np.testing.assert_allclose(stats["mean"], stack.mean((0, 1, 3, 4)), rtol=1e-12)
    np.testing.assert_allclose(stats["std"], stack.std((0, 1, 3, 4)), rtol=1e-9)


def test_columns_hold_what_was_given(made: FileStore) -> None:
    rows = {row["key"]: row for row in open_dataset(made).rows()}
    assert rows[KEYS[3]]["metric_psnr"] == 23.0 and rows[KEYS[3]]["attr_age"] == 3.0
    assert rows[KEYS[2]]["attr_glasses"] == "round" and rows[KEYS[3]]["attr_glasses"] is None
    assert rows[KEYS[2]]["attr_beard"] is False


def test_same_work_gives_the_same_bytes(made: FileStore, tmp_path: Path) -> None:
    other = FileStore(tmp_path)
    units, info = make(other)
    for name in ("manifest.parquet", "dataset.json", "README.md"):
        assert other.read(name) == made.read(name)
    changed = manifest.finalize(
        other, dataset="triplanes", units=units, settings=SETTINGS, lineage={"upstream": "xyz"}
    )
    assert changed["digest"] != info["digest"]


def test_schema_versions_agree() -> None:
    assert manifest.SCHEMA_VERSION == record.SCHEMA_VERSION


def test_unfinished_plans_are_refused(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    units, _ = make(store)
    store.delete(units[1].sidecar)
    with pytest.raises(DatasetError, match=rf"unit {units[1].id} is not done; run the same"):
        manifest.finalize(store, dataset="views", units=units, settings=SETTINGS)


def test_missing_dataset_names_uri_and_command(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(FileStore(tmp_path), command="python -m pipelines.fit --preset demo")
    text = str(caught.value)
    assert str(tmp_path) in text and "python -m pipelines.fit --preset demo" in text
    assert "\n" not in text


def test_other_schema_version(copy: FileStore) -> None:
    info = json.loads(copy.read("dataset.json"))
    copy.write("dataset.json", json.dumps({**info, "schema_version": 9}).encode())
    with pytest.raises(DatasetError, match="schema version 9, this code reads 1"):
        open_dataset(copy)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"format": "other"}', b"[" * 100_000])
def test_no_dataset_json(copy: FileStore, data: bytes) -> None:
    copy.write("dataset.json", data)
    with pytest.raises(DatasetError, match="is no rodin dataset"):
        open_dataset(copy)


def test_truncated_and_damaged_shards_name_shard_and_key(copy: FileStore) -> None:
    dataset = open_dataset(copy)
    row = list(dataset.rows())[1]
    whole = copy.read(row["shard"])
    copy.write(row["shard"], whole[: row["offset"] + 100])
    with pytest.raises(DatasetError) as caught:
        dataset.read(row["key"])
    text = str(caught.value)
    end = row["offset"] + row["size"]
    assert row["shard"] in text and row["key"] in text and "truncated" in text
    assert f"expected bytes {row['offset']}-{end}, it ends at {row['offset'] + 100}" in text
    flipped = bytearray(whole)
    flipped[row["offset"] + 700] ^= 1
    copy.write(row["shard"], bytes(flipped))
    with pytest.raises(DatasetError, match=r"damaged, expected sha256 \w{12}, got \w{12}"):
        dataset.read(row["key"])
    copy.delete(row["shard"])
    with pytest.raises(DatasetError, match="shard is missing"):
        dataset.read(row["key"])
    with pytest.raises(DatasetError, match="no sample 'nobody'"):
        dataset.read("nobody")


def test_manifest_of_other_count_or_content(copy: FileStore) -> None:
    info = json.loads(copy.read("dataset.json"))
    info["counts"]["train"]["samples"] += 1
    copy.write("dataset.json", json.dumps(info).encode())
    with pytest.raises(DatasetError, match=r"count mismatch.*says 7 samples, the manifest has 6"):
        open_dataset(copy).keys()
    copy.write("manifest.parquet", b"PAR1")
    with pytest.raises(DatasetError, match="is not the one that"):
        open_dataset(copy).keys()


@pytest.mark.parametrize(
    "change",
    [{"shard": "../../etc/passwd"}, {"offset": -5}, {"size": 1 << 50}, {"key": "../x"}],
)
def test_hostile_rows_are_refused(made: FileStore, change: dict) -> None:
    dataset = open_dataset(made)
    with pytest.raises(DatasetError, match="bad row of the manifest"):
        dataset.read_row({**next(dataset.rows()), **change})


# -- the card: what it prints must work as printed ----------------------------------------------


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.S)


def run_python(code: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """First words of the lines that a block prints; here, because imports take seconds."""
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {"__name__": "card"})
    return [line.split()[0] for line in capsys.readouterr().out.splitlines() if "avatar_" in line]


def test_card_shows_sheet_counts_and_lineage(made: FileStore) -> None:
    card = made.read("README.md").decode()
    assert "![Some samples](contact.webp)" in card and "upstream: `abc`" in card
    assert len(blocks(card, "python")) == 4 and len(blocks(card, "sh")) == 1


@pytest.fixture
def in_copy(copy: FileStore, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """The dataset's folder is the working directory, with an orphan that nobody may read."""
    copy.write("train/000000-00000000.tar", b"left by a killed run")
    monkeypatch.chdir(copy.root)
    return copy


@pytest.mark.parametrize("tool", ["webdataset", "datasets", "tarfile", "ray"])
def test_card_python_works_as_printed(
    in_copy: FileStore,
    tool: str,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = [
        code
        for code in blocks(in_copy.read("README.md").decode(), "python")
        if re.search(rf"^(import|from) .*\b{tool}\b", code, re.M)
    ]
    if tool == "ray":
        request.getfixturevalue("ray_local")
    monkeypatch.setenv("HF_HOME", str(in_copy.root / ".hf"))
    train = open_dataset(in_copy).keys("train")
    assert sorted(run_python(code, capsys)) == (train[:1] if tool == "tarfile" else sorted(train))


def test_card_tar_line_works_as_printed(in_copy: FileStore) -> None:
    (code,) = blocks(in_copy.read("README.md").decode(), "sh")
    names = subprocess.check_output(["bash", "-ec", code], text=True).splitlines()
    train = open_dataset(in_copy).keys("train")
    assert len(names) == len(train) * 6 and names[0] == f"{train[0]}.cameras.json"
