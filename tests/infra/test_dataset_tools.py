"""Data sets are checked from end to end, chosen from, and put together without a loss."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra import edit
from infra.dataset import Dataset, DatasetError, open_dataset
from infra.expression import ExpressionError, choose
from infra.storage import FileStore, StorageError
from infra.verify import verify
from tests.infra.people import flip, keys_of, make, planes_of, tar_of, triplane_members


def chosen(data: Dataset, text: str) -> list[int]:
    table = data.table()
    return sorted(int(k[-3:]) for k in table.filter(choose(table, text))["key"].to_pylist())


# -- expressions --------------------------------------------------------------------------------

PEOPLE = sorted(set(range(18)) - {4})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("age>30", lambda n: n > 10),
        ("age>30 and glasses!=none", lambda n: n > 10 and n % 3 == 0),
        ("28 <= age < 31", lambda n: 8 <= n < 11),
        ("30 > age", lambda n: n < 10),
        ("psnr>=21.05 or age==20", lambda n: n >= 11 or n == 0),
        ("metric_psnr < 20.35", lambda n: n <= 3),
        ("not beard", lambda n: n % 2 == 1),
        ("beard == true and not (age > 25)", lambda n: n % 2 == 0 and n <= 5),
        ("glasses in (round, 'square')", lambda n: n % 3 == 0),
        ("age not in (20, 21)", lambda n: n > 1),
        ("hat == cap", lambda n: n % 5 == 0),
        ("hat != cap", lambda n: n % 5 != 0),  # a missing value equals nothing
        ("hat > b", lambda n: n % 5 == 0),
        ("age > -1.5", lambda n: True),
    ],
)
def test_expressions_choose_what_python_would(
    made: FileStore, text: str, wanted: Callable[[int], bool]
) -> None:
    assert chosen(open_dataset(made), text) == [n for n in PEOPLE if wanted(n)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 characters"),
        ("age >", "cannot read"),
        ("aeg > 3", "did you mean age"),
        ("__import__('os').system('touch x')", "neither true nor false"),
        ("age > (lambda: 3)()", "no number, word or quoted"),
        ("age > [k for k in range(9)]", "no number, word or quoted"),
        ("age.real > 3", "no column 'age.real'"),
        ("age == old", "compare it with a number"),
        ("beard > 3", "compare it with true or false"),
        ("age", "neither true nor false"),
        ("age in 3", "after 'in' comes a list"),
        ("age is 3", "use < <="),
        ("age > 10**10**10", "no number"),
        ("age > 99999999999999999999", "too large"),
        ("age > " + "-" * 1500 + "1", "deep|cannot read"),
        ("(" * 900 + "beard" + ")" * 900, "cannot read"),
        ("a" * 3000, "3000 characters"),
        ("\x00age > 3", "cannot read"),
    ],
)
def test_bad_expressions_are_one_line(made: FileStore, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words) as caught:
        chosen(open_dataset(made), text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


# -- verify -------------------------------------------------------------------------------------


def test_a_sound_data_set_is_sound(any_store) -> None:
    make(any_store, keys_of(0, 9), poison=keys_of(4, 1))
    seen = []
    report = verify(open_dataset(any_store), lambda key, members: seen.append(key))
    assert report.problems == [] and report.notes == []
    assert sorted(seen) == sorted(set(keys_of(0, 9)) - {keys_of(4, 1)[0]})
    assert report.samples == 8 and report.bytes > 8000


def json_change(store: FileStore, key: str, change: Callable[[dict], object]) -> None:
    value = json.loads(store.read(key))
    change(value)
    store.write(key, json.dumps(value).encode())


DAMAGE: list[tuple[str, Callable[[FileStore], object], str]] = [
    ("a byte of a sample", lambda s: flip(s, tar_of(s), 900), "sample .*damaged"),
    ("a byte after the samples", lambda s: flip(s, tar_of(s), -1), "damaged, its sha256"),
    ("a shorter shard", lambda s: s.write(tar_of(s), s.read(tar_of(s))[:-512]), "its sidecar says"),
    ("a shard that is gone", lambda s: s.delete(tar_of(s)), "does not exist"),
    (
        "a sidecar that is gone",
        lambda s: s.delete(tar_of(s)[:12] + ".json"),
        "its sidecar is missing",
    ),
    ("the decoder", lambda s: s.write("decoder.safetensors", b"other"), "decoder.safetensors"),
    ("no decoder", lambda s: s.delete("decoder.safetensors"), "decoder.safetensors"),
    ("the manifest", lambda s: flip(s, "manifest.parquet", 100), "not the one that"),
    (
        "a count",
        lambda s: json_change(s, "dataset.json", lambda v: v["counts"]["val"].update(failures=9)),
        "counts.val.failures is 9",
    ),
    (
        "the statistics",
        lambda s: json_change(s, "dataset.json", lambda v: v["stats"].update(count=1)),
        "stats.count is 1",
    ),
    (
        "the lineage",
        lambda s: json_change(s, "dataset.json", lambda v: v["lineage"].update(decoder="z")),
        "digest is not",
    ),
    (
        "the settings",
        lambda s: json_change(s, "dataset.json", lambda v: v["settings"].update(size=9)),
        "settings_hash is not",
    ),
    (
        "a hash in a sidecar",
        lambda s: json_change(
            s, tar_of(s)[:12] + ".json", lambda v: v["rows"][0].update(sha256="0" * 64)
        ),
        "manifest.parquet: sha256 of",
    ),
    (
        "a hostile range",
        lambda s: json_change(
            s, tar_of(s)[:12] + ".json", lambda v: v["rows"][0].update(size=1 << 45)
        ),
        "impossible byte ranges",
    ),
    (
        "a malformed sidecar",
        lambda s: json_change(s, tar_of(s)[:12] + ".json", lambda v: v["rows"][0].update(key=[])),
        "malformed sidecar",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE]
)
def test_verify_names_each_damage(copy: FileStore, change, words: str) -> None:
    change(copy)
    report = verify(open_dataset(copy))
    assert not report.ok
    assert any(re.search(words, line) for line in report.problems), report.problems
    assert all("\n" not in line for line in report.problems)


def test_orphans_are_notes_and_checks_can_refuse(copy: FileStore) -> None:
    copy.write("train/000000-00000000.tar", b"an older try")
    report = verify(open_dataset(copy))
    assert report.ok and report.notes == [
        "train/000000-00000000.tar: orphan, no part of the dataset"
    ]

    def refuse(key: str, members: object) -> None:
        if key.endswith("7"):
            raise ValueError("view000.webp is lossy")
        if key.endswith("9"):
            raise KeyError("odd")

    lines = "\n".join(verify(open_dataset(copy), refuse).problems)
    assert re.search("avatar_000007.*lossy", lines)
    assert re.search("avatar_000009.*KeyError while it was checked", lines)


# -- selections ---------------------------------------------------------------------------------


def test_a_selection_reads_like_any_data_set(made: FileStore, tmp_path: Path) -> None:
    data, before = open_dataset(made), {k: made.read(k) for k in made.list()}
    keys = [f"avatar_{n:06d}" for n in chosen(data, "age>30 and glasses!=none")]
    out = FileStore(tmp_path / "some")
    info = edit.select(data, out, keys, "age>30 and glasses!=none")
    some = open_dataset(out)
    assert sorted(some.keys()) == sorted(keys) and len(some) == len(keys) < len(data)
    for key in keys:
        assert some.read(key) == triplane_members(key)
    some.check_shards()
    assert verify(some).problems == []
    train = np.stack([planes_of(key).astype(np.float64) for key in some.keys("train")])
    np.testing.assert_allclose(info["stats"]["mean"], train.mean((0, 1, 3, 4)), rtol=1e-12)
    assert info["lineage"]["selection"] == "age>30 and glasses!=none"
    assert info["digest"] != data.digest
    assert not [key for key in out.list() if key.endswith(".tar")]
    assert {k: made.read(k) for k in made.list()} == before
    first = out.read("dataset.json")
    edit.select(data, out, keys, "age>30 and glasses!=none")  # again: the same bytes
    assert out.read("dataset.json") == first
    with pytest.raises(DatasetError, match="holds a whole dataset"):
        edit.select(data, made, keys, "x")
    with pytest.raises(DatasetError, match="no sample of"):
        edit.select(data, out, [], "age>900")
    again = edit.select(some, FileStore(tmp_path / "fewer"), keys[:1], "one")  # of a selection
    assert again["shards_at"] == data.store.uri


def test_a_selections_card_reads_it(
    made: FileStore, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = FileStore(tmp_path / "some")
    edit.select(open_dataset(made), out, keys_of(5, 6), "some")
    (code,) = re.findall(r"```python\n(.*?)```", out.read("README.md").decode(), re.S)
    monkeypatch.chdir(out.root)
    exec(code, {})
    found = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(found) == sorted(open_dataset(out).keys("train"))


def test_a_damaged_shard_shows_through_a_selection(copy: FileStore, tmp_path: Path) -> None:
    out = FileStore(tmp_path / "some")
    edit.select(open_dataset(copy), out, keys_of(0, 18), "all")
    for key in list(copy.list("train/")):
        if key.endswith(".tar"):
            flip(copy, key, 900)
    assert not verify(open_dataset(out)).ok


@pytest.mark.parametrize("address", ["gs://x/y", "", 7, "s3://key:secret@bucket/x"])
def test_bad_places_of_shards_are_refused(copy: FileStore, address: object) -> None:
    json_change(copy, "dataset.json", lambda v: v.update(shards_at=address))
    with pytest.raises(DatasetError, match="bad shards_at") as caught:
        open_dataset(copy)
    assert "secret" not in str(caught.value)


def test_a_remote_selection_may_not_name_local_folders(s3, tmp_path: Path) -> None:
    from infra.storage import open_store

    remote = open_store(f"s3://{s3.bucket}/{tmp_path.name}")
    make(remote, keys_of(0, 4))
    info = json.loads(remote.read("dataset.json"))
    remote.write("dataset.json", json.dumps({**info, "shards_at": "/etc"}).encode())
    with pytest.raises(DatasetError, match="names the local folder /etc"):
        open_dataset(remote)


def test_links_and_pipes_in_a_data_set_are_refused(copy: FileStore, tmp_path: Path) -> None:
    name = tar_of(copy)
    copy.delete(name)
    os.mkfifo(copy.root / name)
    with pytest.raises(StorageError, match="no plain file"):
        copy.read(name)
    assert not verify(open_dataset(copy)).ok
