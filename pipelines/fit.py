"""Stage fit: posed views -> tri-planes that one shared decoder renders.

Input    OUT/views (pipelines.render), or --views URI of another run's views.
Output   OUT/triplanes: decoder.safetensors, WebDataset shards, manifest.parquet (quality in the
         metric_ columns), dataset.json, a card, contact.png (held-out views: truth beside fit),
         quality.html and worst.png.
Work     first the decoder, jointly with the planes of the first people (`pipelines.fit_decoder`);
         then one shard of people a unit, decoder frozen, by a Ray Data pool of workers, whose views
         other processes decode ahead; last, people whose PSNR is an outlier once more, for longer.
Poison   a person whose views are damaged or cannot be fitted is recorded with the reason; the rest
         of the shard goes on.
Again    a second run goes on from the decoder's checkpoint and fits only the shards that have no
         sidecar; --retry-failed also takes those in which a person could not be fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from infra import cluster
from infra.canon import settings_hash
from infra.manifest import Dataset, finalize, is_final, manifest_rows, open_dataset
from infra.shards import Unit, pending_units, plan_units, read_sidecars
from infra.storage import Store
from pipelines import models, pictures, quality, registry
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.fit_decoder import DECODER, SEAL, decoder_identity, make_decoder
from pipelines.fit_worker import FitWorker
from pipelines.options import Options, entry
from pipelines.settings import FitStage, RunSettings, as_dict
from pipelines.stage import check_failures, first_samples, plan_line, worker_count
from pipelines.throughput import Throughput

SHEET_PEOPLE = 24
DESCRIPTION = (
    "Tri-planes of synthetic people, fitted with one shared decoder (decoder.safetensors), with "
    "the portrait, a few posed views and the quality on views that the fit never saw."
)


def fit_identity(stage: FitStage, decoder: str, views: Dataset) -> dict[str, Any]:
    """What decides a person's tri-plane sample."""
    return {
        "engine": as_dict(stage.engine),
        "seed": stage.seed,
        "views_kept": stage.views_kept,
        "features": stage.features,
        "lpips": bool(stage.vgg_weights),
        "outlier_psnr": stage.outlier_psnr,
        "outlier_deviations": stage.outlier_deviations,
        "refit_factor": stage.refit_factor,
        "decoder": decoder,
        "views": settings_hash(views.info["settings"]),
    }


def contact_sheet(store: Store, units: Sequence[Unit], identity: dict[str, Any]) -> bytes:
    """Previews of the first people, a row each, with their held-out PSNR."""
    shown, labels = [], []
    for unit, packed in first_samples(store, units, identity, SHEET_PEOPLE):
        strip = pictures.from_png(store.read(f"previews/{packed.key}.png"))
        tiles = np.split(strip, strip.shape[1] // strip.shape[0], axis=1)
        shown.append([tile for i, tile in enumerate(tiles) if i % 3 < 2])  # without error maps
        score = f"{packed.metrics['psnr']:.2f} dB"
        labels.append(f"{int(packed.key)} {unit.split}: truth | fit, {score}")
    return pictures.png(pictures.grid(shown, labels, across=2))


def units_of(stage: FitStage, views: Dataset) -> list[Unit]:
    """The same people and the same split as the views."""
    return plan_units(sorted(views.keys()), stage.shard_size, views.info["lineage"]["val_fraction"])


def work(
    context: Context,
    todo: Sequence[Unit],
    views: Dataset,
    identity: dict[str, Any],
    refit: Mapping[str, Sequence[str]] | None = None,
    limit: float = 0.0,
) -> Iterator[dict[str, Any]]:
    resources, stage = context.settings.resources, context.settings.fit
    threads = max(1, int(resources.cpus_per_worker))
    yield from cluster.run_units(
        todo,
        FitWorker,
        (context.out, views.store.uri, stage, identity, threads, refit, limit),
        actors=min(worker_count(context), len(todo)),
        cpus_per_actor=resources.cpus_per_worker,
        gpus_per_actor=resources.gpus_per_fit,
        name="fit again" if refit else "fit",
    )


def noted(results: Iterable[dict[str, Any]], replaced: set[str]) -> Iterator[dict[str, Any]]:
    """The results as they are; names of shards that were made again go into `replaced`."""
    for result in results:
        if result["replaced"]:
            replaced.add(result["replaced"])
        yield result


def measured_rows(store: Store, units: Sequence[Unit]) -> list[dict[str, Any]]:
    """Key, unit and metrics of every fitted person, from the sidecars."""
    return [
        {name: value for name, value in row.items() if name == "key" or name.startswith("metric_")}
        | {"unit": unit.id}
        for unit, sidecar in read_sidecars(store, units)
        if sidecar is not None
        for row in manifest_rows(unit, sidecar)
    ]


def to_refit(stage: FitStage, rows: Sequence[dict[str, Any]]) -> tuple[dict[str, list[str]], float]:
    """(unit id -> people to fit a second time, the PSNR that they fell short of).

    The limit comes from the first fits alone, so that a run that was stopped in between goes on
    with the same one.
    """
    first = [row.get("metric_psnr_first", row["metric_psnr"]) for row in rows]
    limit = quality.poor_limit(first, low=stage.outlier_psnr, deviations=stage.outlier_deviations)
    found: dict[str, list[str]] = {}
    for row, psnr in zip(rows, first, strict=True):
        if psnr < limit and not row["metric_refits"]:
            found.setdefault(row["unit"], []).append(row["key"])
    return found, limit


def quality_files(store: Store, rows: Sequence[dict[str, Any]], limit: float) -> dict[str, bytes]:
    """quality.html and worst.png: the worst people's held-out views, truth | fit | error."""
    shown = []
    for row in quality.worst(rows):
        again = ", fitted a second time" if row["metric_refits"] else ""
        text = f"{row['key']}: {row['metric_psnr']:.2f} dB{again}"
        shown.append((text, store.read(f"previews/{row['key']}.png")))
    strips = [[pictures.from_png(data)] for _, data in shown]
    tiles = [np.split(strip, strip.shape[1] // strip.shape[0], axis=1) for [strip] in strips]
    facts = {"A second fit is due under": f"{limit:.1f} dB"}
    return {
        "quality.html": quality.page(rows, shown, facts).encode(),
        "worst.png": quality.sheet(tiles, [text for text, _ in shown]),
    }


def plan(context: Context, views: Dataset) -> tuple[list[Unit], list[Unit], bool]:
    """All units, those that remain, and whether the stage is done."""
    stage, store = context.settings.fit, context.child("triplanes")
    units = units_of(stage, views)
    seal = context.read_json(SEAL)
    if seal is None:
        return units, units, False
    models.check_identity(store, seal["identity"], decoder_identity(stage, views))
    identity = fit_identity(stage, seal["decoder"], views)
    todo = pending_units(store, units, identity, retry_failed=context.options.retry_failed)
    return units, todo, not todo and is_final(store, units)


def launch(options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    stage, store = settings.fit, context.child("triplanes")
    if options.dry_run and not context.store.exists("views/dataset.json"):
        print("fit: waits for pipelines.render")
        return
    views = open_dataset(
        context.child("views"), command=f"python -m pipelines.render --out {context.out}"
    )
    views.check_shards()
    units, todo, done = plan(context, views)
    if options.dry_run or done:
        size = f"planes of {stage.engine.resolution} texels"
        print(plan_line("fit", units, todo, done, size))
        return
    context.explain()
    with timed() as seconds, context.tracked("fit", as_dict(stage)) as tracking:
        tracking.log_dataset("views", views.digest, views.store.uri)
        speed = Throughput(tracking)
        with ray_session(context):
            seal = make_decoder(context, views)
            joint = seal["psnr"]
            print(
                f"fit: shared decoder, held-out PSNR {joint['first']:.2f} dB of its first subject,"
                f" {joint['last']:.2f} dB of its last"
            )
            identity = fit_identity(stage, seal["decoder"], views)
            _, todo, _ = plan(context, views)
            replaced: set[str] = set()
            speed.take(noted(work(context, todo, views, identity), replaced) if todo else ())
            again, limit = to_refit(stage, measured_rows(store, units))
            if again:
                poor = [unit for unit in units if unit.id in again]
                print(f"fit: {sum(map(len, again.values()))} people under {limit:.1f} dB")
                results = work(context, poor, views, identity, again, limit)
                speed.take(noted(results, replaced), again=True)
        rows = measured_rows(store, units)
        files = {"contact.png": contact_sheet(store, units, identity)}
        files |= quality_files(store, rows, limit) if rows else {}
        for name, data in files.items():
            store.write(name, data)
        info = finalize(
            store,
            dataset="triplanes",
            units=units,
            settings=identity,
            lineage={
                **views.info["lineage"],
                "views": views.digest,
                "decoder": identity["decoder"],
            },
            files=(DECODER,),
            contact_sheet="contact.png",
            description=DESCRIPTION,
        )
        # Only now: until the manifest named the new shards, another driver may have read the old.
        for name in replaced.difference(*info["shards"].values()):
            store.delete(name)
        check_failures("fit", info, stage.max_failures)
        scores = {f"held_out_{item['metric']}": item["mean"] for item in quality.summary(rows)}
        scores |= {f"joint_psnr_{name}": value for name, value in joint.items()}
        tracking.log_metrics(scores, step=len(rows))
        for name, data in files.items():
            tracking.log_artifact(data, name)
        tracking.log_artifact(store.read(DECODER), DECODER)
        registry.announce(registry.register_part, context.store, "decoder", tracking)
    psnr = scores.get("held_out_psnr", float("nan"))
    if speed.line():
        print(f"fit: {speed.line()}")
    print(
        f"fit: mean held-out PSNR {psnr:.2f} dB over {len(rows)} people; {store.uri}/quality.html"
    )
    people = sum(len(unit.keys) for unit in todo)
    context.note(
        "fit",
        seconds[0],
        did=f"{people} people, mean held-out PSNR {psnr:.2f} dB",
        psnr=psnr,
        **speed.facts(),
    )


def main(argv: Sequence[str] | None = None) -> None:
    entry("fit", __doc__ or "", ("fit", "resources"), launch, argv)


if __name__ == "__main__":
    main()
