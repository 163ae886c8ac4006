"""Commit protocol: a shard is the unit of work, and it is done when its sidecar says so.

Order of a commit: write the tar under a private name, close, hash, place it under a name made of
its content, write the sidecar JSON last. A crash before that leaves at most an orphan tar, which
the next try writes again under the same name. Racing tries of the same work are harmless.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from infra.canon import canonical_json, first_difference, settings_hash, sha256_hex
from infra.plan import SPLITS, Unit, check_sample_key, plan_units, split_of
from infra.scratch import scratch_folder
from infra.storage import NotFoundError, Store
from infra.tars import TarPacker, unpack_sample

__all__ = [
    "SPLITS",
    "ChannelStats",
    "Failure",
    "KeptSamples",
    "Packed",
    "SettingsMismatch",
    "SidecarError",
    "Unit",
    "channel_stats",
    "commit_unit",
    "pending_units",
    "plan_units",
    "read_sidecar",
    "read_sidecars",
    "split_of",
    "sweep_orphans",
]

SIDECAR_VERSION = 1
_MAX_SIDECAR = 256 << 20  # bytes
_OWN_NAME = re.compile(r"(?:train|val)/\d{6,9}(?:-[0-9a-f]{8}\.tar|\.json)")
_READERS = 8  # sidecars read at once: hides the latency of S3


class SettingsMismatch(ValueError):
    """The store holds work of other settings."""


class SidecarError(ValueError):
    """A sidecar is damaged or of another version."""


@dataclass(frozen=True)
class ChannelStats:
    """Sums over all texels of some tri-planes; adds up exactly enough in float64."""

    count: int  # texels per channel
    sum: tuple[float, ...]  # per channel
    sumsq: tuple[float, ...]  # per channel


@dataclass(frozen=True)
class Packed:
    """One finished sample on its way into the shard."""

    key: str
    members: Mapping[str, bytes]  # extension -> bytes
    metrics: Mapping[str, float] = field(default_factory=dict)  # numbers for the manifest
    attributes: Mapping[str, Any] = field(default_factory=dict)  # str, bool, int, float
    stats: ChannelStats | None = None


@dataclass(frozen=True)
class Failure:
    """One sample that cannot be made: poison input, recorded with its reason."""

    key: str
    reason: str  # one line
    error: str = ""  # name of the error's class
    kind: str = "poison"  # class of failure; others than poison must raise instead


def channel_stats(planes: np.ndarray) -> ChannelStats:
    """Sums of (3, C, R, R) planes over planes and texels, in float64."""
    flat = np.asarray(planes, np.float64).transpose(1, 0, 2, 3).reshape(planes.shape[1], -1)
    return ChannelStats(
        flat.shape[1], tuple(flat.sum(1).tolist()), tuple((flat * flat).sum(1).tolist())
    )


def commit_unit(
    store: Store,
    unit: Unit,
    samples: Iterable[Packed | Failure],
    *,
    settings: Mapping[str, Any],
    lineage: Mapping[str, Any] | None = None,
    scratch: str | None = None,
) -> dict[str, Any]:
    """Pack the samples of a unit as they come, then commit; returns a small summary.

    `samples` yields one `Packed` or `Failure` for each key of the unit, in its order; whatever it
    raises passes through and nothing is committed. `scratch` is the folder for the temporary tar.
    Summary: unit, samples, failures, bytes, seconds. Raises ValueError where the samples are not
    those of the unit.
    """
    begin = time.perf_counter()
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with scratch_folder("rodin-shard-", scratch) as folder:
        path = folder / "shard.tar"
        packer = TarPacker(path)
        try:
            expected = iter(unit.keys)
            for sample in samples:
                if sample.key != next(expected, None):
                    raise ValueError(
                        f"unit {unit.id} got sample {sample.key!r} out of turn; "
                        "yield each key of the unit once, in order"
                    )
                if isinstance(sample, Failure):
                    failures.append(_failure_row(sample))
                else:
                    rows.append(_row(packer, sample))
            missing = next(expected, None)
            if missing is not None:
                raise ValueError(f"unit {unit.id} ended before sample {missing!r}")
        finally:
            digest = packer.close()
        name = None
        if rows:
            name = f"{unit.id}-{digest[:8]}.tar"
            store.put_file(path, name)
    seconds = round(time.perf_counter() - begin, 3)
    sidecar = {
        "sidecar_version": SIDECAR_VERSION,
        "unit": {"split": unit.split, "index": unit.index, "keys": list(unit.keys)},
        "settings_hash": settings_hash(settings),
        "settings": dict(settings),
        "lineage": dict(lineage or {}),
        "shard": name and {"name": name, "size": packer.size, "sha256": digest},
        "rows": rows,
        "failures": failures,
        "seconds": seconds,
    }
    store.write(unit.sidecar, canonical_json(sidecar) + b"\n")
    return {
        "unit": unit.id,
        "samples": len(rows),
        "failures": len(failures),
        "bytes": packer.size if rows else 0,
        "seconds": seconds,
    }


def _row(packer: TarPacker, sample: Packed) -> dict[str, Any]:
    span = packer.add(sample.key, sample.members)
    return {
        "key": span.key,
        "offset": span.offset,
        "size": span.size,
        "sha256": span.sha256,
        "metrics": dict(sample.metrics),
        "attributes": dict(sample.attributes),
        "stats": sample.stats and asdict(sample.stats),
    }


def _failure_row(failure: Failure) -> dict[str, str]:
    reason = " ".join(failure.reason.split())[:500]
    return {
        "key": failure.key, "class": failure.kind, "error": failure.error, "reason": reason
    }  # fmt: skip


def read_sidecar(store: Store, unit: Unit) -> dict[str, Any] | None:
    """The sidecar of a unit, None where there is none. Raises SidecarError when damaged."""
    try:
        data = store.read(unit.sidecar, 0, _MAX_SIDECAR)
    except NotFoundError:
        return None
    where, fix = store.location(unit.sidecar), "delete this file and run the same command again"
    try:
        sidecar = json.loads(data)
        version = sidecar["sidecar_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SidecarError(f"{where}: damaged sidecar; {fix}") from None
    if version != SIDECAR_VERSION:
        raise SidecarError(
            f"{where}: sidecar version {str(version)[:20]}, this code reads {SIDECAR_VERSION}; "
            "use the release that wrote it, or another --out"
        )
    wanted = ("unit", "settings_hash", "settings", "shard", "rows", "failures", "seconds")
    if any(name not in sidecar for name in wanted):
        raise SidecarError(f"{where}: sidecar lacks fields; {fix}")
    if not _well_formed(sidecar):
        raise SidecarError(f"{where}: malformed sidecar; {fix}")
    return sidecar


def _well_formed(sidecar: Mapping[str, Any]) -> bool:
    """Whether the fields that are read have the types that are written."""
    try:
        for key in sidecar["unit"]["keys"]:
            check_sample_key(key)
        for row in sidecar["rows"]:
            check_sample_key(row["key"])
            numbers = [row["offset"], row["size"]]
            if any(type(n) is not int for n in numbers) or type(row["sha256"]) is not str:
                return False
            if not all(isinstance(row[name], dict) for name in ("metrics", "attributes")):
                return False
        shard = sidecar["shard"]
        if shard is None:
            return not sidecar["rows"]
        kinds = (type(shard["name"]), type(shard["size"]), type(shard["sha256"]))
        return kinds == (str, int, str) and all(f["key"] for f in sidecar["failures"])
    except (KeyError, TypeError, ValueError):
        return False


def read_sidecars(
    store: Store, units: Iterable[Unit]
) -> Iterator[tuple[Unit, dict[str, Any] | None]]:
    """(unit, sidecar or None) in the order given; a few are read ahead, memory stays flat."""
    todo = iter(units)
    with ThreadPoolExecutor(_READERS) as pool:
        ahead = [(u, pool.submit(read_sidecar, store, u)) for u in islice(todo, 2 * _READERS)]
        while ahead:
            unit, future = ahead.pop(0)
            yield unit, future.result()
            ahead += [(u, pool.submit(read_sidecar, store, u)) for u in islice(todo, 1)]


def pending_units(
    store: Store,
    units: Sequence[Unit],
    settings: Mapping[str, Any],
    *,
    retry_failed: bool = False,
) -> list[Unit]:
    """The units that remain: no sidecar, other keys, a shard that is gone.

    With `retry_failed` also those with recorded failures. Raises SettingsMismatch when a
    sidecar was written under other settings, and names the field.
    """
    wanted = settings_hash(settings)
    present = {key for split in SPLITS for key in store.list(f"{split}/")}
    done = [unit for unit in units if unit.sidecar in present]
    finished: set[Unit] = set()
    for unit, sidecar in read_sidecars(store, done):
        if sidecar is None:
            continue
        if sidecar["settings_hash"] != wanted:
            raise _mismatch(store, unit, sidecar, settings)
        if sidecar["unit"].get("keys") != list(unit.keys):
            continue
        if sidecar["shard"] is not None and sidecar["shard"]["name"] not in present:
            continue
        if retry_failed and sidecar["failures"]:
            continue
        finished.add(unit)
    return [unit for unit in units if unit not in finished]


def _mismatch(
    store: Store, unit: Unit, sidecar: Mapping[str, Any], settings: Mapping[str, Any]
) -> SettingsMismatch:
    new = json.loads(canonical_json(settings))
    field_name, old_value, new_value = first_difference(sidecar["settings"], new) or (
        "settings_hash", sidecar["settings_hash"], settings_hash(settings),
    )  # fmt: skip
    return SettingsMismatch(
        f"{store.location(unit.sidecar)} was made with {field_name} = {old_value!r}, "
        f"now it is {new_value!r}; use another --out, or set {field_name} back to {old_value!r}"
    )


class KeptSamples:
    """Good samples of an earlier commit of a unit, so that a retry makes only what is missing."""

    def __init__(self, store: Store, unit: Unit, settings: Mapping[str, Any]) -> None:
        self._store = store
        self._rows: dict[str, dict[str, Any]] = {}
        self._shard = ""
        sidecar = read_sidecar(store, unit)
        if sidecar is not None and sidecar["settings_hash"] == settings_hash(settings):
            self._rows = {row["key"]: row for row in sidecar["rows"]}
            self._shard = (sidecar["shard"] or {}).get("name", "")

    def get(self, key: str) -> Packed | None:
        """The sample as it was packed; None where it was not, or where its bytes are damaged."""
        row = self._rows.get(key)
        if row is None:
            return None
        try:
            data = self._store.read(self._shard, row["offset"], row["size"])
        except NotFoundError:
            return None
        if sha256_hex(data) != row["sha256"]:
            return None
        stats = row["stats"] and ChannelStats(**row["stats"])
        return Packed(key, unpack_sample(data, key), row["metrics"], row["attributes"], stats)


def sweep_orphans(store: Store, units: Iterable[Unit]) -> list[str]:
    """Delete shards and sidecars that do not belong to the plan, and what killed writers left.

    Only while no stage writes to the store: a tar just before its sidecar looks like an orphan.
    Returns the keys deleted.
    """
    plan = list(units)
    wanted = {unit.sidecar for unit in plan}
    for _, sidecar in read_sidecars(store, plan):
        if sidecar is not None and sidecar["shard"] is not None:
            wanted.add(sidecar["shard"]["name"])
    orphans = [
        key
        for split in SPLITS
        for key in store.list(f"{split}/")
        if _OWN_NAME.fullmatch(key) and key not in wanted
    ]
    for key in orphans:
        store.delete(key)
    store.sweep_temporary()
    return orphans
