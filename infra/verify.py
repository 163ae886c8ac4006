"""A dataset from end to end: every hash, count, schema, orphan and file beside the shards.

Each shard is read once, a sample at a time; what is wrong is counted and named, never raised, so
that one look finds all of it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.canon import first_difference, settings_hash, sha256_hex
from infra.dataset import Dataset, DatasetError
from infra.edit import contents, receipts
from infra.manifest import Totals, manifest_rows
from infra.plan import Unit
from infra.prefetch import read_ahead
from infra.shards import SidecarError
from infra.storage import StorageError, check_key
from infra.tars import unpack_sample

_MAX_FINDINGS = 1000  # kept and shown; the rest is counted
_MAX_TAIL = 1024 + 10240  # bytes after the last sample: a tar's end, padded to a record
_MAX_SAMPLE = 4 << 30  # bytes of one sample, as in infra.dataset
_SHARD = re.compile(r"(?:train|val)/\d{6,9}-([0-9a-f]{8})\.tar")
Check = Callable[[str, Mapping[str, bytes]], None]


@dataclass
class Report:
    """What `verify` saw. `problems` are damage; `notes` are leftovers that harm nobody."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shards: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float = 0.0
    unshown: int = 0  # problems past the limit

    @property
    def ok(self) -> bool:
        return not self.problems

    def problem(self, text: str) -> None:
        if len(self.problems) < _MAX_FINDINGS:
            self.problems.append(" ".join(text.split())[:400])
        else:
            self.unshown += 1


def verify(
    dataset: Dataset, check: Check | None = None, progress: Callable[[int], None] | None = None
) -> Report:
    """Read all of `dataset`; `check(key, members)` raises ValueError for what the schema forbids.

    `progress` is called with the bytes read so far. Needs the sidecars beside the shards.
    """
    report, begin = Report(), time.perf_counter()
    info = dataset.info
    if settings_hash(info["settings"]) != info.get("settings_hash"):
        report.problem("dataset.json: settings_hash is not that of settings")
    _files(dataset, report)
    totals = Totals()
    rows = _Rows(dataset, report)
    listed: set[str] = set()
    try:
        for unit, sidecar in contents(dataset):
            try:
                totals.add(dataset.shard_store, unit, sidecar, info["settings_hash"])
            except (KeyError, TypeError, ValueError) as error:
                report.problem(f"{unit.sidecar}: {error}")
                continue
            rows.compare(unit, sidecar)
            if sidecar["shard"] is not None:
                listed.add(sidecar["shard"]["name"])
                _shard(dataset, unit, sidecar, check, report)
            if progress is not None:
                progress(report.bytes)
        _orphans(dataset, listed, report)
    except (SidecarError, DatasetError, StorageError) as error:
        report.problem(str(error))
    rows.finish()
    _counts(dataset, totals, report)
    report.seconds = time.perf_counter() - begin
    return report


def _files(dataset: Dataset, report: Report) -> None:
    for name, wanted in dataset.info["files"].items():
        try:
            found = sha256_hex(dataset.store.read(name))
        except (StorageError, ValueError) as error:
            report.problem(f"{name[:100]}: {error}")
            continue
        if found != wanted:
            report.problem(f"{name}: damaged, expected sha256 {wanted[:12]}, got {found[:12]}")


class _Rows:
    """The manifest beside the rows that the sidecars give, without holding either."""

    def __init__(self, dataset: Dataset, report: Report) -> None:
        self.report, self.done = report, False
        try:
            dataset.keys()  # loads and checks the manifest
            self.rows: Iterator[dict[str, Any]] = dataset.rows()
        except DatasetError as error:
            report.problem(str(error))
            self.rows, self.done = iter(()), True

    def compare(self, unit: Unit, sidecar: Mapping[str, Any]) -> None:
        for wanted in manifest_rows(unit, sidecar) if not self.done else ():
            found = next(self.rows, None)
            less = {} if found is None else {n: v for n, v in found.items() if v is not None}
            if less.get("key") != wanted["key"]:
                self.report.problem(
                    f"manifest.parquet: row of {less.get('key')!r} where the sidecar of unit "
                    f"{unit.id} has {wanted['key']!r}; later rows are not compared"
                )
                self.done = True
                return
            for name in ("split", "shard", "offset", "size", "sha256"):
                if less.get(name) != wanted[name]:
                    self.report.problem(
                        f"manifest.parquet: {name} of {wanted['key']!r} is "
                        f"{str(less.get(name))[:80]}, the sidecar has {wanted[name]}"
                    )

    def finish(self) -> None:
        if not self.done and next(self.rows, None) is not None:
            self.report.problem("manifest.parquet: has rows that no sidecar has")


def _shard(
    dataset: Dataset,
    unit: Unit,
    sidecar: Mapping[str, Any],
    check: Check | None,
    report: Report,
) -> None:
    """One pass over a tar: hash of the whole, of each sample, and each sample's content."""
    name, size = sidecar["shard"]["name"], sidecar["shard"]["size"]
    store, rows = dataset.shard_store, sidecar["rows"]
    match = _SHARD.fullmatch(check_key(name))
    if match is None or not sidecar["shard"]["sha256"].startswith(match[1]):
        report.problem(f"{name}: the name does not hold the hash {sidecar['shard']['sha256'][:8]}")
    try:
        found = store.size(name)
    except StorageError as error:
        report.problem(str(error))
        return
    if found != size:
        report.problem(f"{name}: has {found} bytes, its sidecar says {size}")
        return
    report.shards += 1
    spans = [(row["offset"], row["size"]) for row in rows]
    end = max(offset + length for offset, length in spans)
    if any(o < 0 or not 0 < s <= _MAX_SAMPLE for o, s in spans) or end > size:
        report.problem(f"{name}: its sidecar has impossible byte ranges")
        return
    whole = "shards_at" not in dataset.info and _gapless(spans) and size - end <= _MAX_TAIL
    if not whole and "shards_at" not in dataset.info:
        report.problem(f"{name}: has bytes between or after its samples")
    ranges = [(name, offset, length) for offset, length in spans]
    digest = hashlib.sha256()
    for row, data in zip(rows, read_ahead(store, ranges), strict=True):
        if isinstance(data, Exception):
            report.problem(str(data))
            whole = False
            continue
        digest.update(data)
        report.bytes += len(data)
        report.samples += 1
        _sample(row, data, f"{name}, sample {row['key']!r}", check, report)
    if whole:
        digest.update(store.read(name, end, _MAX_TAIL))
        if digest.hexdigest() != sidecar["shard"]["sha256"]:
            report.problem(f"{name}: damaged, its sha256 is not that of its sidecar")


def _gapless(spans: list[tuple[int, int]]) -> bool:
    starts = [0, *itertools.accumulate(size for _, size in spans)]
    return [offset for offset, _ in spans] == starts[:-1]


def _sample(
    row: Mapping[str, Any], data: bytes, where: str, check: Check | None, report: Report
) -> None:
    if sha256_hex(data) != row["sha256"]:
        report.problem(f"{where}: damaged, expected sha256 {row['sha256'][:12]}")
        return
    try:
        members = unpack_sample(data, row["key"])
        if check is not None:
            check(row["key"], members)
    except ValueError as error:
        report.problem(f"{where}: {error}")
    except Exception as error:  # a stranger's sample must not end the look at all others
        report.problem(f"{where}: {type(error).__name__} while it was checked")


def _orphans(dataset: Dataset, listed: set[str], report: Report) -> None:
    """Files that nobody lists: what a stopped run left, or a stranger added."""
    if "shards_at" in dataset.info:
        return
    own, _ = receipts(dataset)
    named = {name for names in dataset.info["shards"].values() for name in names}
    for name in sorted(named - listed):
        report.problem(
            f"{name}: its sidecar is missing; restore it from where the dataset was made"
        )
    known = named | {unit.sidecar for unit in own}
    for split in ("train", "val"):
        for key in dataset.shard_store.list(f"{split}/"):
            if key not in known:
                report.notes.append(f"{key}: orphan, no part of the dataset")


def _counts(dataset: Dataset, totals: Totals, report: Report) -> None:
    info = dataset.info
    found = {"counts": totals.counts, "shards": totals.shards, "failures": totals.failures}
    found["stats"] = totals.stats()
    difference = first_difference({name: info[name] for name in found}, found)
    if difference is not None:
        field_name, old, new = difference
        report.problem(
            f"dataset.json: {field_name} is {str(old)[:100]}, the sidecars give {str(new)[:100]}"
        )
    elif totals.digest(info) != info["digest"]:
        report.problem("dataset.json: digest is not that of its content")
