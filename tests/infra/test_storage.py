"""Files and S3 behave alike; addresses and keys that lead elsewhere are refused."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import pytest

from infra.storage import FileStore, NotFoundError, StorageError, open_store


def test_the_same_calls_work_on_files_and_objects(any_store, tmp_path: Path) -> None:
    store = any_store
    assert list(store.list()) == [] and not store.exists("a/b")
    store.write("a/b.bin", b"0123456789")
    store.write("a/b.bin", b"abcdefghij")
    assert store.read("a/b.bin") == b"abcdefghij"
    assert store.read("a/b.bin", 2, 3) == b"cde"
    assert store.read("a/b.bin", 8) == b"ij"
    assert store.read("a/b.bin", 8, 100) == b"ij"
    assert store.read("a/b.bin", 100, 5) == b""
    assert store.read("a/b.bin", 0, 0) == b""
    assert store.size("a/b.bin") == 10
    store.child("a").write("c", b"")
    assert store.child("a").read("c") == b"" and store.exists("a/c")
    (tmp_path / "local").write_bytes(b"x" * 70_000)
    store.put_file(tmp_path / "local", "big")
    store.get_file("big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"x" * 70_000
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri and again.size("big") == 70_000
    store.delete("big")
    store.delete("big")
    assert not store.exists("big")


def test_list_is_in_byte_order_and_by_prefix(any_store) -> None:
    keys = ["a-1", "a.json", "a/1", "a/b/2", "a0", "train/000001-ab.tar", "train/000001.json"]
    for key in reversed(keys):
        any_store.write(key, b"x")
    assert list(any_store.list()) == keys
    assert list(any_store.list("a/")) == ["a/1", "a/b/2"]
    assert list(any_store.list("train/000001")) == keys[-2:]
    assert list(any_store.list("nothing/here")) == []


def test_missing_objects_are_named(any_store, tmp_path: Path) -> None:
    for call in (
        lambda: any_store.read("no/thing"),
        lambda: any_store.size("no/thing"),
        lambda: any_store.get_file("no/thing", tmp_path / "x"),
    ):
        with pytest.raises(NotFoundError, match=r"no/thing.*does not exist; check"):
            call()


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "a\\b", "a\0b", ".tmp-1-x"]
)
@pytest.mark.parametrize("uri", ["/tmp/nothing-here", "s3://data/nothing"])
def test_traversal_is_refused(uri: str, key: str) -> None:
    store = open_store(uri)
    for call in (store.read, store.delete, store.location, store.size):
        with pytest.raises(ValueError, match="bad storage key"):
            call(key)
    with pytest.raises(ValueError, match="bad storage key"):
        store.write(key, b"")


def test_links_out_of_the_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store = FileStore(tmp_path / "store")
    store.write("real", b"x")
    (store.root / "link").symlink_to(tmp_path / "secret")
    (store.root / "folder").symlink_to(tmp_path)
    for key in ("link", "folder/secret"):
        with pytest.raises(StorageError, match="symbolic link; copy"):
            store.read(key)
    assert list(store.list()) == ["real"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gs://bucket/x", "unknown scheme 'gs'"),
        ("s3:///x", "no bucket"),
        ("s3://KEYID:topsecret@bucket/x", "AWS_"),
        ("s3://bucket/x?token=topsecret", "AWS_"),
        ("file://elsewhere/x", "another host"),
        ("", "no address"),
    ],
)
def test_bad_addresses_name_the_fix_and_no_secret(uri: str, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught:
        open_store(uri)
    assert "topsecret" not in str(caught.value) and "\n" not in str(caught.value)


def test_plain_paths_and_file_uris_are_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a b"
    open_store("a b").write("k", b"v")
    assert open_store("file://" + str(folder).replace(" ", "%20")).read("k") == b"v"
    assert open_store(folder).uri == str(folder.resolve())


def test_a_wrong_clock_is_named() -> None:
    from botocore.exceptions import ClientError

    told = {"Error": {"Code": "RequestTimeTooSkewed"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = open_store("s3://bucket/run")._guard(ClientError(told, "PutObject"), "k")
    assert "the clock is wrong" in str(error) and "NTP" in str(error) and not error.transient


def test_a_failed_write_leaves_the_old_bytes(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.write("k", b"old")
    with pytest.raises(ZeroDivisionError):
        store._replace("k", lambda file: (file.write(b"half"), 1 / 0))
    assert store.read("k") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
    (tmp_path / ".tmp-99-left").write_bytes(b"by a killed writer")
    assert list(store.list()) == ["k"]
    assert store.sweep_temporary() == 1


def test_permission_and_folder_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file/x"):
        FileStore(tmp_path).write("file/x", b"")
    (tmp_path / "dir").mkdir()
    with pytest.raises(StorageError, match=r"folder|directory"):
        FileStore(tmp_path).read("dir")
    with pytest.raises(NotFoundError):
        FileStore(tmp_path).size("dir")


def test_multipart_upload(s3, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 33  # three parts
    (tmp_path / "big").write_bytes(data)
    store = open_store(f"s3://{s3.bucket}/multi")
    store.put_file(tmp_path / "big", "big")
    assert store.size("big") == len(data)
    assert store.read("big", 20 << 20, 100) == data[20 << 20 : (20 << 20) + 100]
    store.delete("big")


def test_refused_keys_and_missing_buckets_say_so(s3, monkeypatch) -> None:
    with pytest.raises(StorageError, match="no bucket 'absent'; create"):
        open_store("s3://absent/x").write("k", b"")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret-wrong")
    with pytest.raises(StorageError, match=r"access refused.*AWS_ACCESS_KEY_ID") as caught:
        open_store(f"s3://{s3.bucket}/x").read("k")
    assert "topsecret" not in str(caught.value) and not caught.value.transient


def test_a_server_that_is_down_is_transient(s3, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_store("s3://data/x")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL") as caught:
        store.read("k")
    assert caught.value.transient
    assert pickle.loads(pickle.dumps(caught.value)).transient


def _write_many(uri: str, byte: int) -> None:
    store = open_store(uri)
    for _ in range(30):
        store.write("shared", bytes([byte]) * 100_000)


def test_racing_writers_never_show_a_part(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), b)) for b in (1, 2)]
    for writer in writers:
        writer.start()
    store, seen = open_store(tmp_path), set()
    while any(writer.is_alive() for writer in writers):
        if store.exists("shared"):
            data = store.read("shared")
            assert len(data) == 100_000 and len(set(data)) == 1
            seen.add(data[0])
    assert all(writer.exitcode == 0 for writer in writers) and seen <= {1, 2}
