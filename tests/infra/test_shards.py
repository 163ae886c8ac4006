"""Shards are the same bytes every time, and a crash or a retry loses and doubles nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import shards, tars
from infra.canon import first_difference, settings_hash
from infra.shards import Failure, Packed, SettingsMismatch, SidecarError, Unit
from infra.storage import FileStore, Store

SETTINGS = {"render": {"size": 64, "samples": 8}, "seed": 0}


def members(key: str) -> dict[str, bytes]:
    digest = hashlib.sha256(key.encode()).digest()
    return {"view000.webp": digest * 40, "meta.json": json.dumps({"key": key}).encode()}


def samples(unit: Unit, poison: tuple[str, ...] = ()) -> Iterator[Packed | Failure]:
    for key in unit.keys:
        if key in poison:
            yield Failure(key, "hair has\nno roots", "BuildError")
        else:
            planes = np.full((3, 2, 4, 4), float(len(key)))
            stats = shards.channel_stats(planes)
            yield Packed(key, members(key), {"psnr": 27.0}, {"hair": "bob"}, stats)


def make_all(store: Store, units: list[Unit], **kwargs) -> None:
    for unit in units:
        shards.commit_unit(store, unit, samples(unit, **kwargs), settings=SETTINGS)


def content(store: Store) -> dict[str, str]:
    return {key: hashlib.sha256(store.read(key)).hexdigest() for key in store.list()}


KEYS = [f"avatar_{index:06d}" for index in range(20)]


def test_same_samples_give_the_same_tar(tmp_path: Path) -> None:
    units = shards.plan_units(KEYS, 8, 0.2)
    names = []
    for folder in ("a", "b"):
        store = FileStore(tmp_path / folder)
        make_all(store, units)
        names.append({k: v for k, v in content(store).items() if k.endswith(".tar")})
        with tarfile.open(store.root / next(iter(names[-1]))) as tar:
            infos = tar.getmembers()
        assert [i.name for i in infos] == sorted(i.name for i in infos)
        assert all((i.mtime, i.uid, i.gid, i.uname, i.gname) == (0, 0, 0, "", "") for i in infos)
    assert names[0] == names[1]
    assert all(name[-12:-4] == digest[:8] for name, digest in names[0].items())


def test_packer_writes_what_tarfile_writes(tmp_path: Path) -> None:
    packer = tars.TarPacker(tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "twin.tar", "w", format=tarfile.USTAR_FORMAT) as twin:
        for key in KEYS[:3]:
            packer.add(key, members(key))
            for extension, data in sorted(members(key).items()):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                twin.addfile(info, io.BytesIO(data))
    digest = packer.close()
    ours = (tmp_path / "ours.tar").read_bytes()
    assert ours == (tmp_path / "twin.tar").read_bytes()
    assert hashlib.sha256(ours).hexdigest() == digest and len(ours) == packer.size


def test_each_sample_is_one_range(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    unit = Unit("train", 0, tuple(KEYS[:5]))
    shards.commit_unit(store, unit, samples(unit), settings=SETTINGS)
    sidecar = shards.read_sidecar(store, unit)
    for row in sidecar["rows"]:
        part = store.read(sidecar["shard"]["name"], row["offset"], row["size"])
        assert hashlib.sha256(part).hexdigest() == row["sha256"]
        assert tars.unpack_sample(part, row["key"]) == members(row["key"])


@given(st.integers(1, 9), st.floats(0, 1), st.integers(1, 60))
def test_plan_keeps_every_key_once_and_grows_at_the_end(size, fraction, count) -> None:
    keys = [f"k{index}" for index in range(count)]
    units = shards.plan_units(keys, size, fraction)
    assert sorted(key for unit in units for key in unit.keys) == sorted(keys)
    assert all(shards.split_of(key, fraction) == unit.split for unit in units for key in unit.keys)
    more = shards.plan_units([*keys, "extra"], size, fraction)
    changed = [unit for unit in units if unit not in more]
    assert len(changed) <= 1 and len({unit.id for unit in more}) == len(more)


def test_split_is_stable_and_about_the_fraction() -> None:
    keys = [f"avatar_{index:06d}" for index in range(4000)]
    part = sum(shards.split_of(key, 0.1) == "val" for key in keys) / len(keys)
    assert 0.08 < part < 0.12
    assert [shards.split_of(key, 0.5) for key in KEYS[:6]] == [
        "train", "val", "val", "val", "val", "train",
    ]  # fmt: skip
    assert {shards.split_of(key, 0.0) for key in keys} == {"train"}
    assert {shards.split_of(key, 1.0) for key in keys} == {"val"}


@pytest.mark.parametrize("keys", [["a", "a"], ["a.b"], ["../a"], [""], ["a" * 81], ["a/b"]])
def test_bad_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match=r"twice|bad sample key"):
        shards.plan_units(keys, 4, 0.0)


def test_second_run_has_nothing_to_do(any_store) -> None:
    units = shards.plan_units(KEYS[:7], 3, 0.3)
    assert shards.pending_units(any_store, units, SETTINGS) == units
    make_all(any_store, units[1:])
    assert shards.pending_units(any_store, units, SETTINGS) == units[:1]
    make_all(any_store, units[:1])
    before = content(any_store)
    assert shards.pending_units(any_store, units, SETTINGS) == []
    assert content(any_store) == before


def test_growing_set_and_lost_shard_are_pending(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    units = shards.plan_units(KEYS[:7], 3, 0.0)
    make_all(store, units)
    more = shards.plan_units(KEYS[:8], 3, 0.0)
    assert shards.pending_units(store, more, SETTINGS) == more[-1:]
    store.delete(shards.read_sidecar(store, units[0])["shard"]["name"])
    assert shards.pending_units(store, units, SETTINGS) == units[:1]


def test_other_settings_name_field_values_and_fix(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    units = shards.plan_units(KEYS[:3], 3, 0.0)
    make_all(store, units)
    changed = {"render": {"size": 128, "samples": 8}, "seed": 0}
    with pytest.raises(SettingsMismatch) as caught:
        shards.pending_units(store, units, changed)
    text = str(caught.value)
    assert "render.size = 64, now it is 128" in text and "another --out" in text
    assert "\n" not in text and str(tmp_path) in text
    with pytest.raises(SettingsMismatch, match=r"seed = 0, now it is '\(absent\)'"):
        shards.pending_units(store, units, {"render": SETTINGS["render"]})


def test_tuples_and_lists_are_the_same_settings() -> None:
    assert settings_hash({"a": (1, 2)}) == settings_hash({"a": [1, 2]})
    assert first_difference({"a": (1, 2)}, {"a": [1, 2]}) is None
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 2}}) == ("a.b", 1, 2)
    with pytest.raises(ValueError, match="plain JSON"):
        settings_hash({"a": float("nan")})


def test_failures_are_recorded_and_only_they_are_made_again(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a")
    unit = Unit("train", 0, tuple(KEYS[:4]))
    result = shards.commit_unit(store, unit, samples(unit, (KEYS[1],)), settings=SETTINGS)
    assert (result["samples"], result["failures"]) == (3, 1)
    assert shards.read_sidecar(store, unit)["failures"] == [
        {"key": KEYS[1], "class": "poison", "error": "BuildError", "reason": "hair has no roots"}
    ]
    assert shards.pending_units(store, [unit], SETTINGS) == []
    assert shards.pending_units(store, [unit], SETTINGS, retry_failed=True) == [unit]
    kept, made = shards.KeptSamples(store, unit, SETTINGS), []

    def again() -> Iterator[Packed | Failure]:
        for fresh in samples(unit):
            old = kept.get(fresh.key)
            made.extend([] if old else [fresh.key])
            yield old or fresh

    shards.commit_unit(store, unit, again(), settings=SETTINGS)
    assert made == [KEYS[1]]
    undisturbed = FileStore(tmp_path / "b")
    make_all(undisturbed, [unit])
    one, two = (shards.read_sidecar(each, unit) for each in (store, undisturbed))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert shards.KeptSamples(store, unit, {"seed": 1}).get(KEYS[0]) is None


def test_unit_of_failures_alone_is_done(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    unit = Unit("val", 0, tuple(KEYS[:2]))
    shards.commit_unit(store, unit, samples(unit, unit.keys), settings=SETTINGS)
    assert shards.pending_units(store, [unit], SETTINGS) == []
    assert list(store.list()) == ["val/000000.json"]


def test_samples_that_are_not_the_units_commit_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    unit = Unit("train", 0, tuple(KEYS[:2]))
    other = Unit("train", 0, tuple(KEYS[1:3]))
    short = Unit("train", 0, tuple(KEYS[:1]))
    for wrong, words in [(other, "out of turn"), (short, "ended before")]:
        with pytest.raises(ValueError, match=words):
            shards.commit_unit(store, unit, samples(wrong), settings=SETTINGS)
    assert list(store.list()) == []


KILLED = """
import os, signal, sys
sys.path[:0] = [{here!r}, {root!r}]
import test_shards as t
from infra import shards
from infra.storage import FileStore

class DiesBeforeSidecar(FileStore):
    def write(self, key, data):
        os.kill(os.getpid(), signal.SIGKILL)

store = DiesBeforeSidecar(sys.argv[1])
unit = shards.plan_units(t.KEYS[:4], 4, 0.0)[0]
shards.commit_unit(store, unit, t.samples(unit), settings=t.SETTINGS)
"""


def test_kill_between_shard_and_sidecar(tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    code = KILLED.format(here=str(here.parent), root=str(here.parents[2]))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    store, undisturbed = FileStore(tmp_path / "a"), FileStore(tmp_path / "b")
    (orphan,) = store.list()
    units = shards.plan_units(KEYS[:4], 4, 0.0)
    assert shards.pending_units(store, units, SETTINGS) == units
    make_all(store, units)
    make_all(undisturbed, units)
    assert sorted(store.list()) == sorted(undisturbed.list()) == ["train/000000.json", orphan][::-1]
    assert store.read(orphan) == undisturbed.read(orphan)


def test_sweep_removes_orphans_only(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    units = shards.plan_units(KEYS[:6], 3, 0.0)
    make_all(store, units)
    wanted = list(store.list())
    store.write("train/000000-00000000.tar", b"an older try")
    store.write("train/000009.json", b"{}")
    store.write("train/notes.txt", b"of a person")
    (tmp_path / "train" / ".tmp-1-killed").write_bytes(b"")
    assert shards.sweep_orphans(store, units) == ["train/000000-00000000.tar", "train/000009.json"]
    assert sorted(store.list()) == sorted([*wanted, "train/notes.txt"])
    assert not (tmp_path / "train" / ".tmp-1-killed").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b'{"sidecar_version": 7}', "version 7, this code reads 1"),
        (b'{"sidecar_version": 1}', "lacks fields"),
    ],
)
def test_damaged_sidecars_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    store, unit = FileStore(tmp_path), Unit("train", 0, ("a",))
    store.write(unit.sidecar, data)
    with pytest.raises(SidecarError, match=rf"000000\.json.*{words}"):
        shards.pending_units(store, [unit], SETTINGS)


def hostile_tar(*entries: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILE, LINK, HARD, FIFO = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile_tar(("../../etc/x", FILE, b"x")), "does not belong"),
        (hostile_tar(("/etc/x", FILE, b"x")), "does not belong"),
        (hostile_tar(("k.meta.json", LINK, b"")), "no plain file"),
        (hostile_tar(("k.meta.json", HARD, b"")), "no plain file"),
        (hostile_tar(("k.meta.json", FIFO, b"")), "no plain file"),
        (hostile_tar(("k.a/../../x", FILE, b"x")), "does not belong"),
        (hostile_tar(("other.meta.json", FILE, b"x")), "does not belong"),
        (hostile_tar(("k.a", FILE, b"x"), ("k.a", FILE, b"y")), "twice"),
        (hostile_tar(("k.a" + "a" * 300, FILE, b"x"))[:700], "no tar|no members"),
        (b"\xff" * 2048, "no tar|no members"),
        (b"", "no tar|no members"),
    ],
)
def test_hostile_tars_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tars.unpack_sample(data, "k")


def test_the_fast_reader_reads_what_tarfile_reads(tmp_path: Path) -> None:
    """And where a single byte differs, it either reads the same or leaves it to tarfile."""
    packer = tars.TarPacker(tmp_path / "x.tar")
    content = {"a": b"", "b.json": b"x" * 511, "c": b"y" * 513, "view000.webp": b"z" * 1024}
    span = packer.add("k", content)
    packer.close()
    data = (tmp_path / "x.tar").read_bytes()[: span.size]
    assert tars._own_members(data, "k") == tars._any_members(data, "k") == content
    headers = [0, 512, 1536, 3072]
    for at in (start + i for start in headers for i in range(512)):
        for bit in (1, 0x40):
            changed = bytearray(data)
            changed[at] ^= bit
            assert tars._own_members(bytes(changed), "k") == {}, at
    for cut in (0, 100, 512, 1000, span.size - 1, span.size - 512):
        assert tars._own_members(data[:cut], "k") == {} or cut % 512 == 0
    assert tars._own_members(data, "other") == {}
    assert tars._own_members(data + data, "k") == {}


def test_member_that_claims_more_than_there_is() -> None:
    info = tarfile.TarInfo("k.a")
    info.size = 8 << 30
    with pytest.raises(ValueError, match=r"claims|no tar"):
        tars.unpack_sample(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512, "k")


@pytest.mark.parametrize(
    ("key", "content_"), [("a.b", {"x": b""}), ("a", {"../x": b""}), ("a", {}), ("a", {"X": b""})]
)
def test_packer_refuses_bad_names(tmp_path: Path, key: str, content_: dict[str, bytes]) -> None:
    packer = tars.TarPacker(tmp_path / "x.tar")
    with pytest.raises(ValueError, match=r"bad|no members"):
        packer.add(key, content_)
    packer.add("m", {"x": b""})
    with pytest.raises(ValueError, match="ascending"):
        packer.add("m", {"x": b""})
    packer.close()
    assert os.path.getsize(tmp_path / "x.tar") == packer.size
