"""Manifest of a dataset: what its shards hold, and how to read one sample out of them.

`finalize` turns the sidecars of a finished plan into `manifest.parquet` (a row per sample),
`README.md` (the card) and, last, `dataset.json`. The same sidecars give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from infra.canon import canonical_json, settings_hash, sha256_hex
from infra.card import dataset_card
from infra.dataset import DATASET, MANIFEST, SCHEMA_VERSION, Dataset, DatasetError, open_dataset
from infra.plan import SPLITS, Unit
from infra.shards import read_sidecars
from infra.storage import Store

__all__ = ["SCHEMA_VERSION", "Dataset", "DatasetError", "finalize", "is_final", "open_dataset"]

_ROWS_PER_GROUP = 4096
Sidecars = Callable[[], Iterator[tuple[Unit, dict[str, Any] | None]]]


def finalize(
    store: Store,
    *,
    dataset: str,
    units: Sequence[Unit],
    settings: Mapping[str, Any],
    lineage: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
    contact_sheet: str | None = None,
    description: str = "",
    schema_version: int = SCHEMA_VERSION,
    sidecars: Sidecars | None = None,
    shards_at: str = "",
) -> dict[str, Any]:
    """Write manifest, card and `dataset.json`; returns the content of the last.

    `dataset` is its kind ("views", "triplanes"); `files` are keys beside the shards, such as
    `decoder.safetensors`, recorded with their hashes; `contact_sheet` is the key of an image for
    the card. `sidecars` gives those of the units where they are not read from the store as they
    are; `shards_at` is the address of the shards where they lie elsewhere.
    Raises DatasetError while units of the plan are not done.
    """
    found = sidecars or (lambda: read_sidecars(store, units))
    totals = Totals()
    for unit, sidecar in found():
        totals.add(store, unit, sidecar, settings_hash(settings))
    manifest = _parquet(store, found, totals)
    store.write(MANIFEST, manifest)
    info: dict[str, Any] = {
        "format": "rodin-shards",
        "schema_version": schema_version,
        "dataset": dataset,
        "counts": totals.counts,
        "shards": totals.shards,
        "failures": totals.failures,
        "stats": totals.stats(),
        "lineage": dict(lineage or {}),
        "settings": json.loads(canonical_json(settings)),
        "settings_hash": settings_hash(settings),
        "files": {name: sha256_hex(store.read(name)) for name in sorted(files)},
        "manifest": {"sha256": sha256_hex(manifest), "columns": ["key", *totals.columns()]},
    }
    info |= {"shards_at": shards_at} if shards_at else {}
    info["digest"] = totals.digest(info)
    if contact_sheet is not None and not store.exists(contact_sheet):
        raise DatasetError(
            f"{store.location(contact_sheet)}: no such contact sheet; write it before finalize"
        )
    store.write("README.md", dataset_card(info, contact_sheet, description).encode())
    store.write(DATASET, canonical_json(info, indent=1) + b"\n")
    return info


def is_final(store: Store, units: Sequence[Unit]) -> bool:
    """Whether `dataset.json` and the manifest have all that the sidecars of `units` have.

    False where they are missing or damaged, and after a kill between the last commit and
    `finalize` of a data set that was finished before and then got more people or a retry.
    """
    try:
        dataset = open_dataset(store)
        dataset.table()
    except DatasetError:
        return False
    listed = {name for split in SPLITS for name in dataset.info["shards"].get(split, [])}
    failed = {failure["key"] for failure in dataset.info["failures"]}
    for unit, sidecar in read_sidecars(store, units):
        if sidecar is None or (sidecar["shard"] and sidecar["shard"]["name"] not in listed):
            return False
        if {failure["key"] for failure in sidecar["failures"]} != failed.intersection(unit.keys):
            return False
    return True


class Totals:
    """Running sums over sidecars: constant memory but for one short row a shard and failure."""

    def __init__(self) -> None:
        self.counts = {
            split: {"shards": 0, "samples": 0, "failures": 0, "bytes": 0} for split in SPLITS
        }
        self.shards: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.failures: list[dict[str, str]] = []
        self.rows = hashlib.sha256()
        self.types: dict[str, set[str]] = {}
        self._sums: dict[str, list[float]] = {}
        self._count = 0

    def add(self, store: Store, unit: Unit, sidecar: Mapping[str, Any] | None, wanted: str) -> None:
        if sidecar is None or sidecar["unit"]["keys"] != list(unit.keys):
            raise DatasetError(
                f"{store.uri}: unit {unit.id} is not done; run the same command again to finish it"
            )
        if sidecar["settings_hash"] != wanted:
            raise DatasetError(
                f"{store.location(unit.sidecar)}: made with other settings; use another --out"
            )
        if len(sidecar["rows"]) + len(sidecar["failures"]) != len(unit.keys):
            raise DatasetError(
                f"{store.location(unit.sidecar)}: {len(sidecar['rows'])} samples and "
                f"{len(sidecar['failures'])} failures for {len(unit.keys)} keys; "
                "delete this file and run the same command again"
            )
        counts = self.counts[unit.split]
        counts["samples"] += len(sidecar["rows"])
        counts["failures"] += len(sidecar["failures"])
        self.failures += sidecar["failures"]
        if sidecar["shard"] is not None:
            counts["shards"] += 1
            counts["bytes"] += sidecar["shard"]["size"]
            self.shards[unit.split].append(sidecar["shard"]["name"])
        for row in manifest_rows(unit, sidecar):
            self.rows.update(canonical_json(row))
            for name, value in row.items():
                self.types.setdefault(name, set()).add(type(value).__name__)
        if unit.split == "train":
            for row in sidecar["rows"]:
                self._add_stats(row["stats"])

    def _add_stats(self, stats: Mapping[str, Any] | None) -> None:
        if stats is None:
            return
        self._count += stats["count"]
        for name in ("sum", "sumsq"):
            before = self._sums.setdefault(name, [0.0] * len(stats[name]))
            if len(before) != len(stats[name]):
                raise DatasetError("samples have different numbers of channels; use another --out")
            self._sums[name] = [a + b for a, b in zip(before, stats[name], strict=True)]

    def stats(self) -> dict[str, Any] | None:
        """Per-channel mean and standard deviation of the train split; None without stats."""
        if not self._count:
            return None
        mean = [value / self._count for value in self._sums["sum"]]
        square = [value / self._count for value in self._sums["sumsq"]]
        std = [math.sqrt(max(s - m * m, 0.0)) for m, s in zip(mean, square, strict=True)]
        return {"count": self._count, "mean": mean, "std": std, "split": "train"}

    def digest(self, info: Mapping[str, Any]) -> str:
        """sha256 (hex) of dataset.json without its manifest, and of all rows."""
        own = {"counts": self.counts, "shards": self.shards, "failures": self.failures}
        kept = {name: info[name] for name in info if name not in ("manifest", "digest")}
        content = {**kept, **own, "stats": self.stats(), "rows": self.rows.hexdigest()}
        return sha256_hex(canonical_json(content))

    def columns(self) -> list[str]:
        """All columns but the key: the fixed ones first, then metrics and attributes by name."""
        fixed = ["split", "shard", "offset", "size", "sha256"]
        return fixed + sorted(set(self.types) - {"key", *fixed})


def manifest_rows(unit: Unit, sidecar: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the manifest of one unit: flat, with `metric_*` and `attr_*` columns."""
    for row in sidecar["rows"]:
        flat = {
            "key": row["key"],
            "split": unit.split,
            "shard": sidecar["shard"]["name"],
            "offset": row["offset"],
            "size": row["size"],
            "sha256": row["sha256"],
        }
        flat.update({f"metric_{name}": float(v) for name, v in row["metrics"].items()})
        flat.update({f"attr_{name}": value for name, value in row["attributes"].items()})
        yield flat


def _parquet(store: Store, sidecars: Sidecars, totals: Totals) -> bytes:
    """The manifest, written a row group at a time from the sidecars."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    fixed = {"key": "str", "split": "str", "shard": "str", "offset": "int", "size": "int"}
    kinds = {**fixed, "sha256": "str"}
    for name in totals.columns():
        kinds.setdefault(name, _column_kind(totals.types.get(name, set())))
    schema = pa.schema([(name, arrow[kind]) for name, kind in kinds.items()])
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd", store_schema=False) as writer:
        rows: list[dict[str, Any]] = []
        for unit, sidecar in sidecars():
            if sidecar is None:
                raise DatasetError(f"{store.uri}: unit {unit.id} vanished while it was read")
            rows += manifest_rows(unit, sidecar)
            if len(rows) >= _ROWS_PER_GROUP:
                writer.write_table(_table(rows, kinds, schema))
                rows = []
        if rows or not any(c["samples"] for c in totals.counts.values()):
            writer.write_table(_table(rows, kinds, schema))
    return buffer.getvalue()


def _column_kind(types: set[str]) -> str:
    """The narrowest type that holds all values; text where they mix."""
    seen = types - {"NoneType"}
    if len(seen) == 1 and seen <= {"bool", "int", "float"}:
        return seen.pop()
    return "float" if seen == {"int", "float"} else "str"


def _table(rows: list[dict[str, Any]], kinds: Mapping[str, str], schema: Any) -> Any:
    import pyarrow as pa

    columns = []
    for name, kind in kinds.items():
        values = [row.get(name) for row in rows]
        if kind == "str":
            values = [v if v is None or isinstance(v, str) else _text(v) for v in values]
        elif kind == "float":
            values = [v if v is None else float(v) for v in values]
        columns.append(pa.array(values, schema.field(name).type))
    return pa.Table.from_arrays(columns, schema=schema)


def _text(value: Any) -> str:
    return canonical_json(value).decode()
