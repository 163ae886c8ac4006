"""Datasets made of datasets: a selection of one, several as one, one that grows.

A selection is a new manifest over the same shards. Merging packs the samples again, one at a time,
under the next free shard numbers, with the commit protocol of the stages: shards that are there
are never touched, and the same call after a crash does what remains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from infra.canon import first_difference
from infra.dataset import DATASET, Dataset, DatasetError, open_dataset
from infra.lease import Lease
from infra.manifest import finalize
from infra.plan import SPLITS, Unit, plan_units, split_of
from infra.shards import ChannelStats, Failure, Packed, commit_unit, read_sidecar, read_sidecars
from infra.storage import Store

_SIDECAR = re.compile(r"(train|val)/(\d{6,9})\.json")
Receipt = tuple[Unit, dict[str, Any]]


def receipts(dataset: Dataset) -> tuple[list[Unit], list[Unit]]:
    """(units of the dataset, units in its folder that it does not list), in order.

    The units are those that sidecars name; a selection's are those of the whole dataset.
    """
    listed = {name for names in dataset.info["shards"].values() for name in names}
    failed = {failure["key"] for failure in dataset.info["failures"]}
    own: list[Unit] = []
    strange: list[Unit] = []
    for unit, sidecar in _sidecars(dataset.shard_store):
        shard = sidecar["shard"]
        mine = shard["name"] in listed if shard else bool(unit.keys) and failed >= set(unit.keys)
        (own if mine else strange).append(unit)
    return own, strange


def _sidecars(store: Store) -> Iterator[Receipt]:
    found = (_SIDECAR.fullmatch(key) for split in SPLITS for key in store.list(f"{split}/"))
    slots = [Unit(match[1], int(match[2]), ()) for match in found if match]
    for slot, sidecar in read_sidecars(store, slots):
        if sidecar is not None:
            yield Unit(slot.split, slot.index, tuple(sidecar["unit"]["keys"])), sidecar


def chosen(dataset: Dataset, units: Iterable[Unit], keep: set[str] | None) -> Iterator[Receipt]:
    """Units and sidecars with the samples of `keep` alone (all when None), empty units left out."""
    for unit, sidecar in read_sidecars(dataset.shard_store, units):
        if sidecar is None:
            raise DatasetError(f"{dataset.shard_store.location(unit.sidecar)}: is missing")
        if keep is None:
            yield unit, sidecar
            continue
        rows = [row for row in sidecar["rows"] if row["key"] in keep]
        keys = tuple(row["key"] for row in rows)
        if rows:
            less = {"rows": rows, "failures": [], "unit": {**sidecar["unit"], "keys": list(keys)}}
            yield Unit(unit.split, unit.index, keys), {**sidecar, **less}


def contents(dataset: Dataset) -> Iterator[Receipt]:
    """The units and sidecars that `dataset` consists of, a selection's cut down to its samples."""
    keep = set(dataset.keys()) if "shards_at" in dataset.info else None
    return chosen(dataset, receipts(dataset)[0], keep)


def select(
    dataset: Dataset, out: Store, keys: Iterable[str], note: str, card: str = ""
) -> dict[str, Any]:
    """Write a selection of `dataset` to `out`; returns its dataset.json.

    `note` says how the keys were chosen, `card` begins the README. The statistics are those of the
    selection. Raises DatasetError where nothing is chosen or `out` holds something else.
    """
    keep = set(keys)
    if not keep:
        raise DatasetError(f"no sample of {dataset.store.uri} is chosen; widen the expression")
    if out.exists(DATASET) and "shards_at" not in open_dataset(out).info:
        raise DatasetError(f"{out.uri} holds a whole dataset; give the selection another --out")
    units = receipts(dataset)[0]
    _copy_files(dataset, out)
    lineage = {**dataset.info["lineage"], "selected_from": dataset.digest, "selection": note}
    return finalize(
        out,
        dataset=dataset.info["dataset"],
        units=(),
        settings=dataset.info["settings"],
        lineage=lineage,
        files=tuple(dataset.info["files"]),
        description=card,
        sidecars=lambda: chosen(dataset, units, keep),
        shards_at=dataset.shard_store.uri,
    )


def append(out: Store, sources: Sequence[Dataset], *, card: str = "") -> tuple[dict[str, Any], int]:
    """Add the samples of `sources` to the dataset in `out`, or begin one there.

    Returns (dataset.json, shards written). Old shards keep their names and bytes; new ones get
    the next numbers of their split. Raises LeaseTaken while another call adds to the same `out`,
    and DatasetError where kinds, settings, splits or files differ, or a key is in two of them.
    """
    with Lease(out, "extend.lease", "adding samples to this data set"):
        return _append(out, sources, card)


def _append(out: Store, sources: Sequence[Dataset], card: str) -> tuple[dict[str, Any], int]:
    old = open_dataset(out) if out.exists(DATASET) else None
    if old is not None and "shards_at" in old.info:
        raise DatasetError(f"{out.uri} is a selection; merge it with others into a new --out")
    everyone = [*([old] if old else []), *sources]
    for source in everyone[1:]:
        check_alike(everyone[0], source)
    own, strange = receipts(old) if old else ([], [unit for unit, _ in _sidecars(out)])
    parts = [(source, unit) for source in sources for unit, _ in contents(source)]
    known = {(unit.split, unit.keys): unit for unit in own}
    begun = {(unit.split, unit.keys): unit for unit in strange}
    todo = [part for part in parts if (part[1].split, part[1].keys) not in known]
    if old is not None and not todo:
        return old.info, 0
    _check_keys(out, own, [unit for _, unit in todo], strange)
    following = _following([*own, *strange])
    units = list(own)
    settings = everyone[0].info["settings"]
    for source, unit in todo:
        mine = begun.get((unit.split, unit.keys))
        if mine is None:
            mine = Unit(unit.split, following[unit.split], unit.keys)
            following[unit.split] += 1
        if read_sidecar(out, mine) is None:
            commit_unit(out, mine, _samples(source, unit), settings=settings)
        units.append(mine)
    units.sort(key=lambda unit: (SPLITS.index(unit.split), unit.index))
    _copy_files(everyone[0], out)
    sheet = "contact.png"
    shown = next((part for part in everyone if part.store.exists(sheet)), None)
    if shown is not None and not out.exists(sheet):
        out.write(sheet, shown.store.read(sheet))
    now = open_dataset(out).digest if out.exists(DATASET) else ""
    if now != (old.digest if old else ""):  # by a stage, which holds no lease
        raise DatasetError(
            f"{out.location(DATASET)} was changed while samples were added; run the same command"
            " again"
        )
    info = finalize(
        out,
        dataset=everyone[0].info["dataset"],
        units=units,
        settings=settings,
        lineage=_lineage(everyone),
        files=tuple(everyone[0].info["files"]),
        contact_sheet=sheet if shown else None,
        description=card,
    )
    return info, len(todo)


def _samples(source: Dataset, unit: Unit) -> Iterator[Packed | Failure]:
    """The samples of a unit, each compared with its hash, and its recorded failures."""
    ((_, sidecar),) = chosen(source, [unit], None)
    rows = {row["key"]: row for row in sidecar["rows"]}
    failures = {failure["key"]: failure for failure in sidecar["failures"]}
    for key in unit.keys:
        if key in rows:
            row = {**rows[key], "shard": sidecar["shard"]["name"]}
            stats = row["stats"] and ChannelStats(**row["stats"])
            yield Packed(key, source.read_row(row), row["metrics"], row["attributes"], stats)
        else:
            lost = failures[key]
            yield Failure(key, lost["reason"], lost["error"], lost["class"])


def planned(
    out: Store, keys: Iterable[str], shard_size: int, val_fraction: float
) -> tuple[list[Unit], dict[str, Any]]:
    """(units, lineage to keep) of a stage that makes `keys` in `out`.

    As `plan_units` has them, unless `append` added to the data set: then all that is there stays
    where it is, and keys that are in no shard get the next numbers.
    """
    lineage = open_dataset(out).info["lineage"] if out.exists(DATASET) else {}
    if "merged" not in lineage:
        return plan_units(keys, shard_size, val_fraction), {}
    wanted = set(keys := list(keys))
    own, strange = receipts(open_dataset(out))
    units = own + [unit for unit in strange if wanted.issuperset(unit.keys)]
    there = {key for unit in units for key in unit.keys}
    following = _following([*own, *strange])
    rest = plan_units([key for key in keys if key not in there], shard_size, val_fraction)
    units += [Unit(unit.split, following[unit.split] + unit.index, unit.keys) for unit in rest]
    units.sort(key=lambda unit: (SPLITS.index(unit.split), unit.index))
    return units, {"merged": lineage["merged"]}


def _following(units: Iterable[Unit]) -> Counter[str]:
    """The next free number of each split."""
    found = Counter({split: 0 for split in SPLITS})
    for unit in units:
        found[unit.split] = max(found[unit.split], unit.index + 1)
    return found


def check_alike(one: Dataset, other: Dataset) -> None:
    """Raises DatasetError where two datasets cannot be one: kind, settings, split, files."""
    facts: list[dict[str, Any]] = [
        {
            "dataset": each.info["dataset"],
            "settings": each.info["settings"],
            "val_fraction": each.info["lineage"].get("val_fraction"),
            "files": each.info["files"],
        }
        for each in (one, other)
    ]
    found = first_difference(facts[0], facts[1])
    if found is not None:
        field, old, new = found
        raise DatasetError(
            f"{other.store.uri}: {field} is {str(new)[:80]}, {one.store.uri} has {str(old)[:80]}; "
            "only datasets that were made alike can be one"
        )
    share = facts[0]["val_fraction"]
    for row in other.rows() if isinstance(share, (int, float)) else ():
        if split_of(row["key"], share) != row["split"]:
            raise DatasetError(
                f"{other.store.uri}: sample {row['key']!r} is in {row['split']}, which its hash "
                "does not say; make that dataset again"
            )


def _check_keys(
    out: Store, own: Sequence[Unit], new: Sequence[Unit], strange: Sequence[Unit]
) -> None:
    counts = Counter(key for unit in [*own, *new] for key in unit.keys)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if twice:
        raise DatasetError(
            f"{len(twice)} keys are in two datasets, such as {twice[0]!r}; "
            "render other seeds (--render.first-seed), or filter one of them first"
        )
    wanted = {(unit.split, unit.keys) for unit in new}
    for unit in strange:
        if (unit.split, unit.keys) not in wanted:
            raise DatasetError(
                f"{out.location(unit.sidecar)} belongs to work that was not finished; run that "
                "command again first, or delete this file"
            )


def _copy_files(source: Dataset, out: Store) -> None:
    for name in source.info["files"]:
        data = source.store.read(name)
        if not out.exists(name):
            out.write(name, data)


def _lineage(parts: Sequence[Dataset]) -> dict[str, Any]:
    """What all agree on, and the digests of what was put together."""
    first = parts[0].info["lineage"]
    common = {
        name: value
        for name, value in first.items()
        if name != "merged" and all(p.info["lineage"].get(name) == value for p in parts[1:])
    }
    digests: list[str] = []
    for part in parts:
        digests += part.info["lineage"].get("merged") or [part.digest]
    return {**common, "merged": digests}
