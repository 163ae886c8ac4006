"""Stage fit: posed views -> tri-planes that one shared decoder renders.

Input    OUT/views (pipelines.render), or --views URI of another run's views.
Output   OUT/triplanes: decoder.safetensors, WebDataset shards, manifest.parquet (quality in the
         metric_ columns), dataset.json, a card, contact.png (held-out views: truth beside fit),
         quality.html and worst.png.
Work     first the decoder, jointly with the planes of the first people (one task, checkpointed);
         then one shard of people a unit, decoder frozen, by a Ray Data pool of workers, whose views
         other processes decode ahead; last, people whose PSNR is an outlier once more, for longer.
Poison   a person whose views are damaged or cannot be fitted is recorded with the reason; the rest
         of the shard goes on.
Again    a second run goes on from the decoder's checkpoint and fits only the shards that have no
         sidecar; --retry-failed also takes those in which a person could not be fitted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra import cluster
from infra.canon import settings_hash
from infra.checkpoint import load_checkpoint, save_checkpoint
from infra.manifest import Dataset, finalize, is_final, manifest_rows, open_dataset
from infra.shards import Unit, pending_units, plan_units, read_sidecars
from infra.storage import Store, open_store
from pipelines import models, pictures, quality
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.fit_worker import FitWorker, to_views
from pipelines.options import Options, entry
from pipelines.progress import remote_bar, reporter
from pipelines.settings import FitStage, RunSettings, as_dict
from pipelines.stage import check_failures, first_samples, plan_line, worker_count
from pipelines.throughput import Throughput
from rodin import record

DECODER = "decoder.safetensors"
SHEET_PEOPLE = 24
_RAYS_A_THREAD = 1024
DESCRIPTION = (
    "Tri-planes of synthetic people, fitted with one shared decoder (decoder.safetensors), with "
    "the portrait, a few posed views and the quality on views that the fit never saw."
)


def decoder_identity(stage: FitStage, views: Dataset) -> dict[str, Any]:
    """What decides the shared decoder."""
    return {
        "settings": as_dict(stage.engine),
        "seed": stage.seed,
        "subjects": subjects(stage, views),
    }


def subjects(stage: FitStage, views: Dataset) -> list[str]:
    """Keys of the people whose planes the decoder is trained with: the first of the train split."""
    return sorted(views.keys("train"))[: stage.subjects]


def train_decoder(
    out: str, views_uri: str, stage: FitStage, identity: dict[str, Any], threads: int, progress: Any
) -> None:
    """Phase 1, one task: checkpoints as it goes, writes the decoder last."""
    import torch

    from rodin.fit import fit_decoder

    torch.set_num_threads(threads)
    store = open_store(out).child("triplanes")
    saves = store.child("decoder-checkpoints")
    views = open_dataset(open_store(views_uri))
    people = [to_views(record.decode_views(views.read(key))) for key in identity["subjects"]]
    report = reporter(progress)

    def checkpoint(state: dict[str, Any]) -> None:
        save_checkpoint(saves, state, {"identity": identity, "samples": int(state["step"])})

    found = load_checkpoint(saves)
    if found:
        models.check_identity(saves, found[1]["identity"], identity)
    decoder, _ = fit_decoder(
        people,
        stage.engine,
        seed=stage.seed,
        progress=lambda step, steps, terms: report(step, f"loss {terms['total']:.4f}"),
        state=found[0] if found else None,
        on_checkpoint=checkpoint,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DECODER
        decoder.save(path)
        store.write(DECODER, path.read_bytes())
    seal = {"identity": identity, "decoder": decoder.digest()}
    store.write("decoder.json", models.canonical_json(seal))


def make_decoder(context: Context, views: Dataset) -> str:
    """Phase 1 unless it is done; returns the decoder's digest."""
    import ray

    store, stage = context.child("triplanes"), context.settings.fit
    identity = decoder_identity(stage, views)
    seal = context.read_json("triplanes/decoder.json")
    if seal is None:
        # A second thread pays from about a thousand rays on; below, both wait for each other.
        threads = max(1, min(worker_count(context), stage.engine.rays_per_step // _RAYS_A_THREAD))
        task = ray.remote(num_cpus=1, max_retries=3)(train_decoder)
        with remote_bar(stage.engine.decoder_steps, "shared decoder", "step") as progress:
            reference = task.remote(
                context.out, views.store.uri, stage, identity, threads, progress
            )
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
        seal = context.read_json("triplanes/decoder.json")
    models.check_identity(store, seal["identity"], identity)
    found = models.load_decoder(store).digest()
    if found != seal["decoder"]:
        raise models.ModelError(
            f"{store.location(DECODER)} is not the decoder that this run trained (digest"
            f" {found[:12]}, expected {seal['decoder'][:12]}); restore it, or use another --out"
        )
    return found


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
        again = ", fitted twice" if row["metric_refits"] else ""
        text = f"{row['key']}: {row['metric_psnr']:.2f} dB{again} (truth | fit | error, twice)"
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
    seal = context.read_json("triplanes/decoder.json")
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
            identity = fit_identity(stage, make_decoder(context, views), views)
            _, todo, _ = plan(context, views)
            speed.take(work(context, todo, views, identity) if todo else ())
            again, limit = to_refit(stage, measured_rows(store, units))
            if again:
                poor = [unit for unit in units if unit.id in again]
                print(f"fit: {sum(map(len, again.values()))} people under {limit:.1f} dB")
                speed.take(work(context, poor, views, identity, again, limit), again=True)
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
        check_failures("fit", info, stage.max_failures)
        scores = {f"held_out_{item['metric']}": item["mean"] for item in quality.summary(rows)}
        tracking.log_metrics(scores, step=len(rows))
        for name, data in files.items():
            tracking.log_artifact(data, name)
        tracking.log_artifact(store.read(DECODER), DECODER)
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
