"""A stage whose people are made of numbers: all of a stage's plumbing, and units that cost nothing.

It is built as `pipelines.render` is: plan, pool of workers, shards, manifest, MLflow run, notes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

from infra import cluster
from infra.manifest import finalize, is_final
from infra.plan import Unit, plan_units
from infra.shards import KeptSamples, Packed, commit_unit, pending_units
from infra.storage import open_store
from tests.infra.people import keys_of, samples

IDENTITY = {"size": 8, "seed": 0}


class NumbersWorker:
    """Makes the people of a unit, `seconds` each."""

    def __init__(self, out: str, seconds: float) -> None:
        self.store, self.seconds = open_store(out).child("numbers"), seconds

    def __call__(self, unit: Unit) -> dict[str, Any]:
        kept = KeptSamples(self.store, unit, IDENTITY)
        return commit_unit(self.store, unit, self.people(unit, kept), settings=IDENTITY)

    def people(self, unit: Unit, kept: KeptSamples) -> Iterator[Packed]:
        for made in samples(unit.keys):
            assert isinstance(made, Packed)
            found = kept.get(made.key)
            if found is None:
                time.sleep(self.seconds)
            yield found or made


def main(argv: Sequence[str]) -> None:
    from pipelines.context import open_context, ray_session, timed
    from pipelines.options import Options
    from pipelines.presets import TINY

    parser = argparse.ArgumentParser()
    for name in ("--out", "--address", "--tracking"):
        parser.add_argument(name, required=True)
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=0.05)
    args = parser.parse_args(argv)
    options = Options(out=args.out, address=args.address, tracking=args.tracking)
    context = open_context(options, TINY)
    store = context.child("numbers")
    units = plan_units(keys_of(0, args.people), 3, 0.25)
    todo = pending_units(store, units, IDENTITY)
    if not todo and is_final(store, units):
        print("numbers: nothing to do")
        return
    context.explain()
    with timed() as seconds, context.tracked("numbers", IDENTITY) as tracking:
        if todo:
            with ray_session(context):
                results = cluster.run_units(
                    todo, NumbersWorker, (args.out, args.seconds), actors=2, progress=False
                )
                for count, _ in enumerate(results, 1):
                    tracking.log_metrics({"shards_done": count}, step=count)
        info = finalize(
            store, dataset="triplanes", units=units, settings=IDENTITY,
            lineage={"val_fraction": 0.25, "decoder": "abc"},
        )  # fmt: skip
        tracking.log_dataset("numbers", info["digest"], store.uri)
    context.note("numbers", seconds[0], did=f"{len(todo)} shards")
