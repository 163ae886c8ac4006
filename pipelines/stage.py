"""What the shard-making stages share: the plan in words and the limit on failures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.shards import KeptSamples, Packed, Unit
from infra.storage import Store
from pipelines.context import Context


class TooManyFailures(ValueError):
    """More samples failed than the stage allows."""


def worker_count(context: Context) -> int:
    """Render or fit workers: as set, else one a core of the local machine."""
    return context.settings.resources.workers or os.cpu_count() or 1


def plan_line(
    stage: str, units: Sequence[Unit], todo: Sequence[Unit], done: bool, detail: str
) -> str:
    """One line for --dry-run and for a launch that finds everything done."""
    people = sum(len(unit.keys) for unit in units)
    plan = f"{stage}: {people} people in {len(units)} shards, {detail}"
    if done:
        return f"{plan}; nothing to do"
    left = sum(len(unit.keys) for unit in todo)
    return f"{plan}; {left} people in {len(todo)} shards remain"


def first_samples(
    store: Store, units: Sequence[Unit], identity: Mapping[str, Any], count: int
) -> Iterator[tuple[Unit, Packed]]:
    """The first finished samples of a plan, for contact sheets; needs no manifest yet."""
    for unit in units:
        kept = KeptSamples(store, unit, identity)
        for key in unit.keys:
            sample = kept.get(key)
            if sample is not None and count > 0:
                count -= 1
                yield unit, sample
        if count <= 0:
            return


def check_failures(stage: str, info: Mapping[str, Any], limit: float) -> None:
    """Fails a stage in which too many samples failed; what succeeded stays committed."""
    failures = info["failures"]
    failed = len(failures)
    made = sum(counts["samples"] for counts in info["counts"].values())
    share = failed / max(1, failed + made)
    if share > limit:
        first = failures[0]
        raise TooManyFailures(
            f"{stage}: {failed} of {failed + made} people failed, limit {limit:.0%}; first:"
            f" {first['key']}: {first['reason']}; mend the cause and run with --retry-failed, or"
            f" raise --{stage}.max-failures"
        )
