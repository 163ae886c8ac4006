"""Crafted bad files are refused by name, in little memory and time, and run no code."""

from __future__ import annotations

import io
import json
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra import manifest
from infra.canon import sha256_hex
from infra.dataset import DatasetError, open_dataset
from infra.plan import Unit
from infra.storage import FileStore, StorageError
from infra.verify import verify
from pipelines import models
from pipelines.dataset import checker
from rodin import codecs
from rodin.decoder import DecoderError
from tests.infra import people
from tests.pipelines import hostile

SECONDS = 5.0  # of CPU for one file
MEGABYTES = 300  # growth of the whole process


@pytest.fixture(autouse=True)
def little() -> Iterator[None]:
    """Each file costs little time and, whatever it claims, little memory."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert time.process_time() - begin < SECONDS
    assert grown < MEGABYTES


def finalize(store: FileStore) -> None:
    """New manifest and dataset.json over a changed sidecar, as its author would make them."""
    manifest.finalize(
        store, dataset="triplanes", units=[Unit("train", 0, (hostile.KEY,))],
        settings=people.SETTINGS, lineage={"val_fraction": 0.0, "decoder": "abc"},
        files=["decoder.safetensors"],
    )  # fmt: skip


def problems(tmp_path: Path, sample: bytes) -> list[str]:
    store = hostile.data_set(tmp_path / "set", sample)
    finalize(store)
    report = verify(open_dataset(store), checker("triplanes", True, "abc"))
    assert all("\n" not in line and len(line) < 500 for line in report.problems)
    return report.problems


def test_the_untouched_sample_is_fine(tmp_path: Path) -> None:
    assert problems(tmp_path, hostile.packed(hostile.plain(tmp_path))) == []


@pytest.mark.parametrize("name", hostile.MEMBERS)
def test_bad_members(tmp_path: Path, name: str) -> None:
    make, words = hostile.MEMBERS[name]
    (line,) = problems(tmp_path, hostile.packed(make(tmp_path / "owned")))
    assert hostile.KEY in line and re.search(words, line), line
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", hostile.TARS)
def test_bad_tars(tmp_path: Path, name: str) -> None:
    sample, words = hostile.TARS[name]
    before = {path for path in tmp_path.parent.iterdir()}
    (line,) = problems(tmp_path, sample)
    assert re.search(words, line), line
    assert {path for path in tmp_path.parent.iterdir()} == before


# -- depth maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile.png(1 << 30, 1 << 30), "more than"),
        (hostile.png(4096, 4096, bytes(64)), "cannot be decoded"),
        (hostile.png(8, 8, bytes(100 << 20)), ""),  # 100 MB of pixels for an image of 64
        (hostile.png(8, 8, bytes(99), text=b"not zlib"), "cannot be decoded"),
    ],
)
def test_bad_pngs(data: bytes, words: str) -> None:
    try:
        found = codecs.decode_depth(data, 0.0, 1.0, codecs.Limits())
        assert found.shape == (8, 8)
    except codecs.CodecError as error:
        assert re.search(words, str(error))


# -- manifests, dataset.json and what lies beside the shards ------------------------------------


@pytest.fixture
def whole(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "whole")
    people.make(store, people.keys_of(0, 4))
    return store


def with_manifest(store: FileStore, table: pa.Table, **options: object) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    info = json.loads(store.read("dataset.json"))
    info["manifest"]["sha256"] = sha256_hex(buffer.getvalue())
    store.write("manifest.parquet", buffer.getvalue())
    store.write("dataset.json", json.dumps(info).encode())


def column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("text of 80 MB", "needs .* bytes|bytes of text"),
        ("a text repeated a million times", "count mismatch"),
        ("lists", "holds list"),
        ("binary keys", "holds binary"),
        ("sizes as words", "no column 'size' of int64"),
        ("no keys", "no column 'key'"),
        ("5,000 columns", "columns"),
        ("no parquet", "damaged"),
    ],
)
def test_bad_manifests(whole: FileStore, what: str, words: str) -> None:
    table = open_dataset(whole).table()
    if what == "text of 80 MB":
        table = column(table, "attr_hat", pa.array(["x" * (20 << 20)] * 4))
    if what == "a text repeated a million times":
        table = pa.concat_tables([table] * 1000)
    if what == "lists":
        table = column(table, "attr_hat", pa.array([[1]] * 4))
    if what == "binary keys":
        table = column(table, "key", pa.array([b"\xff"] * 4))
    if what == "sizes as words":
        table = column(table, "size", pa.array(["1"] * 4))
    if what == "no keys":
        table = table.drop_columns(["key"])
    if what == "5,000 columns":
        extra = {f"attr_{i}": pa.array([1] * 4) for i in range(5000)}
        table = pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **extra})
    with_manifest(whole, table)
    if what == "no parquet":
        data = b"PAR1" + b"\xff" * 1000 + b"PAR1"
        info = json.loads(whole.read("dataset.json"))
        info["manifest"]["sha256"] = sha256_hex(data)
        whole.write("manifest.parquet", data)
        whole.write("dataset.json", json.dumps(info).encode())
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(whole).keys()
    assert "\n" not in str(caught.value)


def test_a_short_file_of_long_texts(whole: FileStore) -> None:
    """A dictionary of one 20 MB text, named by each of 2,000 rows: 40 GB once expanded."""
    table = open_dataset(whole).table()
    table = pa.concat_tables([table] * 500)
    names = pa.DictionaryArray.from_arrays([0] * 2000, ["x" * (20 << 20)]).cast(
        pa.dictionary(pa.int32(), pa.string())
    )
    table = column(table, "attr_hat", names)
    with_manifest(whole, table, use_dictionary=["attr_hat"], store_schema=False)
    info = json.loads(whole.read("dataset.json"))
    info["counts"]["train"]["samples"] = 2000 - info["counts"]["val"]["samples"]
    whole.write("dataset.json", json.dumps(info).encode())
    assert whole.size("manifest.parquet") < 1 << 20
    with pytest.raises(DatasetError, match=r"bytes of text|needs"):
        open_dataset(whole).keys()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("counts", {"train": {"samples": -1}}),
        ("counts", {"train": {"samples": True}}),
        ("counts", []),
        ("shards", {"train": "all"}),
        ("shards", {"train": [7]}),
        ("failures", [{"key": ["x"]}]),
        ("files", {"x": 7}),
        ("manifest", {"sha256": None}),
        ("settings", "none"),
        ("stats", [1]),
        ("lineage", None),
    ],
)
def test_bad_fields_of_dataset_json(whole: FileStore, field: str, value: object) -> None:
    info = json.loads(whole.read("dataset.json"))
    whole.write("dataset.json", json.dumps({**info, field: value}).encode())
    with pytest.raises(DatasetError, match=f"'{field}' is malformed"):
        open_dataset(whole)


def test_names_that_lead_elsewhere(whole: FileStore) -> None:
    info = json.loads(whole.read("dataset.json"))
    info["files"] = {"../../../etc/passwd": "0" * 64}
    info["shards"]["train"][0] = "../../x.tar"
    whole.write("dataset.json", json.dumps(info).encode())
    data = open_dataset(whole)
    with pytest.raises(ValueError, match="bad storage key"):
        data.shards("train")
    report = verify(data)
    assert any("bad storage key" in line for line in report.problems)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 64,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (9).to_bytes(8, "little") + b"[" * 9,
        b"\x80\x04cos\nsystem\n(S'x'\ntR.",
    ],
)
def test_bad_decoders(whole: FileStore, data: bytes) -> None:
    whole.write("decoder.safetensors", data)
    with pytest.raises((DecoderError, models.ModelError, StorageError)) as caught:
        models.load_decoder(whole)
    assert "\n" not in str(caught.value)


def test_there_are_enough_of_them() -> None:
    assert len(hostile.MEMBERS) + len(hostile.TARS) >= 60
