"""Reading a finished dataset: rows of the manifest, one sample by a range read.

A dataset may come from a stranger: names stay inside the store, every sample is compared with
its hash, nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.cache import from_environment
from infra.canon import sha256_hex
from infra.parquet import ManifestError, read_manifest
from infra.plan import check_sample_key
from infra.storage import NotFoundError, StorageError, Store, check_key, open_store
from infra.tars import unpack_sample

SCHEMA_VERSION = 1  # equals rodin.record.SCHEMA_VERSION
DATASET = "dataset.json"
MANIFEST = "manifest.parquet"
_MAX_INFO = 64 << 20  # bytes of dataset.json
_MAX_MANIFEST = 2 << 30  # bytes of manifest.parquet
_MAX_SAMPLE = 4 << 30  # bytes of one sample
_FIELDS = {
    "dataset": str, "counts": dict, "shards": dict, "failures": list, "stats": (dict, type(None)),
    "lineage": dict, "settings": dict, "manifest": dict, "digest": str, "files": dict,
}  # fmt: skip


class DatasetError(ValueError):
    """A dataset is missing, damaged or of another version; one line with the fix."""


def open_dataset(
    store: Store, *, schema_version: int = SCHEMA_VERSION, command: str = ""
) -> Dataset:
    """The dataset in `store`. `command` is the line that makes it, for the error text.

    Raises DatasetError when there is none, it is damaged, or of another schema version.
    """
    where = store.location(DATASET)
    make = command or f"python -m pipelines.render --out {store.uri}"
    try:
        data = store.read(DATASET, 0, _MAX_INFO)
    except NotFoundError:
        raise DatasetError(f"no dataset at {store.uri}; make it with: {make}") from None
    try:
        info = json.loads(data)
        if not isinstance(info, dict) or info.get("format") != "rodin-shards":
            raise ValueError
    except (ValueError, RecursionError):
        raise DatasetError(f"{where}: is no rodin dataset; make it again with: {make}") from None
    found = info.get("schema_version")
    if found != schema_version:
        raise DatasetError(
            f"{where}: schema version {str(found)[:20]}, this code reads {schema_version}; "
            f"use the release that wrote it, or make it again with: {make}"
        )
    lacking = [name for name in _FIELDS if name not in info]
    if lacking:
        raise DatasetError(f"{where}: lacks {lacking[0]!r}; make it again with: {make}")
    bad = _malformed(info)
    if bad:
        raise DatasetError(f"{where}: {bad!r} is malformed; make it again with: {make}")
    return Dataset(store, info)


def _malformed(info: dict[str, Any]) -> str:
    """The first field that is not of its type; "" when all are."""
    for name, kind in _FIELDS.items():
        if not isinstance(info[name], kind):  # type: ignore[arg-type]
            return name
    fine = {
        "counts": all(_is_count(part) for part in info["counts"].values()),
        "shards": all(_is_names(part) for part in info["shards"].values()),
        "failures": all(
            isinstance(f, dict) and isinstance(f.get("key"), str) for f in info["failures"]
        ),
        "files": _is_names(list(info["files"].values())),
        "manifest": isinstance(info["manifest"].get("sha256"), str),
    }
    return next((name for name, good in fine.items() if not good), "")


def _is_count(part: Any) -> bool:
    numbers = list(part.values()) if isinstance(part, dict) else [-1]
    return all(type(n) is int and n >= 0 for n in numbers) and "samples" in part


def _is_names(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(name, str) for name in part)


class Dataset:
    """A finished dataset. Cheap to pickle: the manifest is read again where it is needed.

    `info` is the content of dataset.json: counts, stats (per-channel mean and std), lineage,
    settings, digest.
    """

    def __init__(self, store: Store, info: dict[str, Any]) -> None:
        self.store, self.info = store, info
        self.shard_store = _shard_store(store, info)  # another one for a selection
        remote = not self.shard_store.uri.startswith("/")
        self._cache = from_environment() if remote else None
        self._table: Any = None
        self._index: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None, "_index": {}}

    def __len__(self) -> int:
        return sum(counts["samples"] for counts in self.info["counts"].values())

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content: rows with their hashes, settings and lineage."""
        return str(self.info["digest"])

    def shards(self, split: str = "train") -> list[str]:
        """Keys of the tars of a split, in order."""
        return [check_key(name) for name in self.info["shards"].get(split, [])]

    def rows(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows of the manifest, in order: key, split, shard, offset, size, sha256, and more."""
        for batch in self.table().to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                if split is None or row["split"] == split:
                    yield row

    def keys(self, split: str | None = None) -> list[str]:
        table = self.table()
        keys, splits = table["key"].to_pylist(), table["split"].to_pylist()
        return [k for k, s in zip(keys, splits, strict=True) if split is None or s == split]

    def row(self, key: str) -> dict[str, Any]:
        """The manifest's row of a sample. Raises DatasetError for an unknown key."""
        table = self.table()
        if key not in self._index:
            raise DatasetError(f"{self.store.uri}: no sample {key[:100]!r}; see .keys()")
        return table.slice(self._index[key], 1).to_pylist()[0]

    def read(self, key: str) -> dict[str, bytes]:
        """Members of one sample, by one range read, checked against its hash.

        Raises DatasetError for an unknown key, a truncated shard and a damaged sample.
        """
        return self.read_row(self.row(key))

    def read_row(self, row: dict[str, Any]) -> dict[str, bytes]:
        """As `read`, for a row of the manifest."""
        key, shard, offset, size = row["key"], row["shard"], row["offset"], row["size"]
        where = f"{self.shard_store.uri}: shard {shard}, sample {key!r}"
        fix = "copy the shard again, or delete its sidecar and run the stage again"
        try:
            check_sample_key(key)
            check_key(shard)
            if not (offset >= 0 and 0 < size <= _MAX_SAMPLE):
                raise ValueError(f"range {offset}+{size} is not possible")
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{where}: bad row of the manifest ({error}); {fix}") from None
        cached = self._cached(row["sha256"])
        try:
            data = cached or self.shard_store.read(shard, offset, size)
        except NotFoundError:
            raise DatasetError(f"{where}: the shard is missing; {fix}") from None
        if len(data) != size:
            raise DatasetError(
                f"{where}: truncated shard, expected bytes {offset}-{offset + size}, "
                f"it ends at {offset + len(data)}; {fix}"
            )
        found = sha256_hex(data)
        if found != row["sha256"]:
            raise DatasetError(
                f"{where}: damaged, expected sha256 {row['sha256'][:12]}, got {found[:12]}; {fix}"
            )
        if self._cache is not None and cached is None:
            self._cache.put(found, data)
        try:
            return unpack_sample(data, key)
        except ValueError as error:
            raise DatasetError(f"{where}: {error}; {fix}") from None

    def _cached(self, digest: Any) -> bytes | None:
        """The sample from the local cache, where there is one and the shards are remote."""
        if self._cache is None or not isinstance(digest, str) or len(digest) != 64:
            return None
        return self._cache.get(digest)

    def check_shards(self) -> None:
        """A look at the size of every shard, before long work starts on them.

        Raises DatasetError for one that is missing or shorter than its rows need.
        """
        ends: dict[str, int] = {}
        for row in self.rows():
            ends[row["shard"]] = max(ends.get(row["shard"], 0), row["offset"] + row["size"])
        fix = "copy the shard again, or delete its sidecar and run the stage again"
        for shard, end in sorted(ends.items()):
            where = f"{self.shard_store.uri}: shard {shard}"
            try:
                size = self.shard_store.size(check_key(shard))
            except NotFoundError:
                raise DatasetError(f"{where}: the shard is missing; {fix}") from None
            if size < end:
                raise DatasetError(
                    f"{where}: truncated shard, its samples end at byte {end}, it has {size}; {fix}"
                )

    def table(self) -> Any:
        """The manifest as a pyarrow table, read once; compared with dataset.json."""
        if self._table is None:
            self._table = self._load()
            self._index = {key: i for i, key in enumerate(self._table["key"].to_pylist())}
        return self._table

    def _load(self) -> Any:
        where, fix = self.store.location(MANIFEST), "run the stage that made it again"
        try:
            data = self.store.read(MANIFEST, 0, _MAX_MANIFEST)
        except NotFoundError:
            raise DatasetError(f"{where}: is missing; {fix}") from None
        if sha256_hex(data) != self.info["manifest"]["sha256"]:
            raise DatasetError(f"{where}: is not the one that {DATASET} names; {fix}")
        try:
            return read_manifest(data, len(self))
        except ManifestError as error:
            raise DatasetError(f"{where}: {error}; {fix}") from None


def _shard_store(store: Store, info: dict[str, Any]) -> Store:
    """Where the shards lie: beside dataset.json, or where a selection (`filter`) names them.

    A remote dataset may not name local folders: it is not trusted with this machine's files.
    """
    address = info.get("shards_at")
    if address is None:
        return store
    where = store.location(DATASET)
    try:
        found = open_store(address if isinstance(address, str) else "")
    except StorageError as error:
        raise DatasetError(f"{where}: bad shards_at ({error}); make the selection again") from None
    if found.uri.startswith("/") and not store.uri.startswith("/"):
        raise DatasetError(
            f"{where}: shards_at names the local folder {found.uri[:200]}; "
            "copy the shards to the remote store and make the selection there"
        )
    return found
