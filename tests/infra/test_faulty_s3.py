"""S3 that throttles, breaks off and stalls; samples read by ranges, ahead and from a cache."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import cache as caches
from infra import s3 as s3_module
from infra.cache import SampleCache
from infra.dataset import open_dataset
from infra.prefetch import read_ahead
from infra.storage import FileStore, NotFoundError, StorageError, open_store
from infra.verify import verify
from tests.infra.people import keys_of, make, triplane_members
from tests.infra.proxy import Proxy


@pytest.fixture
def through(s3, monkeypatch) -> Iterator[Callable[..., Proxy]]:
    """Makes a proxy in front of the server and leads boto3 to it."""
    made: list[Proxy] = []

    def start(trouble: Callable[[int, str], str], **more: float) -> Proxy:
        made.append(Proxy(s3.endpoint, trouble, **more))
        monkeypatch.setenv("AWS_ENDPOINT_URL", made[-1].endpoint)
        return made[-1]

    yield start
    for proxy in made:
        proxy.__exit__()


def every(n: int, what: str, method: str = "") -> Callable[[int, str], str]:
    return lambda number, seen: what if number % n == 0 and method in ("", seen) else "ok"


def test_throttling_is_waited_out(through, s3, tmp_path: Path, monkeypatch) -> None:
    """Every third request gets a 503: writes, parts, lists and reads all come through."""
    monkeypatch.setattr(s3_module, "_PART", 5 << 20)
    proxy = through(every(3, "503"))
    store = open_store(f"s3://{s3.bucket}/{tmp_path.name}")
    store.write("a/one", b"x" * 1000)
    data = os.urandom(1 << 20) * 11
    (tmp_path / "big").write_bytes(data)
    store.put_file(tmp_path / "big", "big")
    assert store.read("big", 7 << 20, 1000) == data[7 << 20 : (7 << 20) + 1000]
    assert list(store.list()) == ["a/one", "big"]
    assert proxy.troubles >= 3


def test_throttling_without_end_is_a_transient_error(through, s3, monkeypatch) -> None:
    monkeypatch.setattr(s3_module, "_ATTEMPTS", 2)
    proxy = through(every(1, "503"))
    with pytest.raises(StorageError, match=r"S3 failed \(SlowDown\)") as caught:
        open_store(f"s3://{s3.bucket}/x").read("k")
    assert caught.value.transient and "\n" not in str(caught.value)
    assert proxy.count == 2


@pytest.mark.parametrize("what", ["cut", "stall"])
def test_a_body_that_breaks_off_is_read_again(through, s3, monkeypatch, what: str) -> None:
    monkeypatch.setattr(s3_module, "_READ_TIMEOUT", 0.4)
    store = open_store(f"s3://{s3.bucket}/broken")
    data = os.urandom(50_000)
    store.write("k", data)
    proxy = through(lambda number, method: what if number < 2 else "ok", stall=1.0)
    again = open_store(store.uri)
    assert again.read("k") == data and proxy.troubles == 2
    assert again.read("k", 100, 2000) == data[100:2100]


def test_a_body_that_always_breaks_off_is_transient(through, s3, monkeypatch) -> None:
    monkeypatch.setattr(s3_module, "_BODY_TRIES", 2)
    store = open_store(f"s3://{s3.bucket}/broken")
    store.write("k", b"x" * 50_000)
    proxy = through(every(1, "cut", "GET"))
    with pytest.raises(StorageError) as caught:
        open_store(store.uri).read("k")
    assert caught.value.transient and proxy.count == 2


def test_one_sample_is_one_range_request(through, s3, tmp_path: Path) -> None:
    uri = f"s3://{s3.bucket}/{tmp_path.name}"
    make(open_store(uri), keys_of(0, 8), shard_size=8)
    proxy = through(lambda number, method: "ok")
    data = open_dataset(open_store(uri))
    data.keys()
    before = proxy.count
    assert data.read("avatar_000003") == triplane_members("avatar_000003")
    assert proxy.count == before + 1


def test_a_throttled_data_set_is_verified_whole(through, s3, tmp_path: Path) -> None:
    uri = f"s3://{s3.bucket}/{tmp_path.name}"
    make(open_store(uri), keys_of(0, 8))
    through(every(9, "503"))
    report = verify(open_dataset(open_store(uri)))
    assert report.problems == [] and report.samples == 8


# -- the cache ----------------------------------------------------------------------------------


def test_a_second_reading_comes_from_the_cache(through, s3, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    uri = f"s3://{s3.bucket}/{tmp_path.name}"
    make(open_store(uri), keys_of(0, 4))
    proxy = through(lambda number, method: "ok")
    data = open_dataset(open_store(uri))
    keys = data.keys()
    first = {key: data.read(key) for key in keys}
    count = proxy.count
    assert {key: data.read(key) for key in keys} == first
    assert proxy.count == count
    for path in (tmp_path / "cache").glob("*/*"):  # damaged entries are read again
        path.write_bytes(b"x" + path.read_bytes()[1:])
    assert {key: data.read(key) for key in keys} == first
    assert proxy.count == count + 4
    for path in (tmp_path / "cache").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_local_data_sets_are_not_cached(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    make(FileStore(tmp_path / "data"), keys_of(0, 2))
    open_dataset(FileStore(tmp_path / "data")).read("avatar_000001")
    assert not (tmp_path / "cache").exists()


def test_the_cache_stays_under_its_limit_and_keeps_what_is_read(tmp_path: Path) -> None:
    cache = SampleCache(tmp_path, 100_000)
    blobs = [bytes([i]) * 5000 for i in range(60)]
    names = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    now = time.time() - 1000
    for i, (name, blob) in enumerate(zip(names, blobs, strict=True)):
        cache.put(name, blob)
        os.utime(cache._path(name), (now + i, now + i))
        assert cache.get(names[0]) == blobs[0]  # read all the time: never dropped
        assert sum(p.stat().st_size for p in tmp_path.glob("*/*")) <= 100_000
    held = [i for i, name in enumerate(names) if cache.get(name) is not None]
    assert len(held) >= 15 and held[1:] == list(range(60 - len(held) + 1, 60))
    cache.put("0" * 64, b"y" * 50_000)  # larger than a quarter: would push out all else
    assert cache.get("0" * 64) is None


def test_the_cache_survives_what_it_cannot_help(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = SampleCache(tmp_path / "file", 1000)
    cache.put("a" * 64, b"x")  # the folder cannot be made
    assert cache.get("a" * 64) is None
    with pytest.raises(ValueError, match="bad sha256"):
        cache.get("../../etc/passwd")
    monkeypatch.setenv(caches.FOLDER, str(tmp_path))
    monkeypatch.setenv(caches.LIMIT, "much")
    with pytest.raises(ValueError, match="RODIN_CACHE_GB='much' is no number"):
        caches.from_environment()
    with pytest.raises(ValueError, match="holds nothing"):
        SampleCache(tmp_path, 0)


# -- reading ahead ------------------------------------------------------------------------------


class Slow(FileStore):
    """Counts the bytes that were read and not yet taken."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.held, self.most, self.lock = 0, 0, threading.Lock()

    def read(self, key: str, offset: int | None = None, size: int | None = None) -> bytes:
        with self.lock:
            self.held += size or 0
            self.most = max(self.most, self.held)
        time.sleep(0.01)
        return super().read(key, offset, size)


def test_reading_ahead_keeps_order_and_bounds_memory(tmp_path: Path) -> None:
    store = Slow(tmp_path)
    store.write("k", bytes(range(256)) * 40)
    ranges = [("k", 100 * i, 100) for i in range(100)] + [("k", 0, 5000), ("k", 5, 1)]
    seen = []
    begin = time.perf_counter()
    for data in read_ahead(store, ranges, budget=1000, threads=8):
        assert isinstance(data, bytes)
        seen.append(data)
        store.held -= len(data)
    spent = time.perf_counter() - begin
    whole = bytes(range(256)) * 40
    assert seen == [whole[o : o + s] for _, o, s in ranges]
    assert store.most <= 5000 + 1000
    assert spent < 0.01 * len(ranges) * 0.7  # in parallel


def test_errors_come_in_their_place(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.write("k", b"abc")
    first, second, third = read_ahead(store, [("k", 0, 1), ("no", 0, 1), ("k", 2, 1)])
    assert (first, third) == (b"a", b"c") and isinstance(second, NotFoundError)
