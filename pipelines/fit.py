"""Stage fit: posed views -> tri-planes that one shared decoder renders.

Input    OUT/views (pipelines.render), or --views URI of another run's views.
Output   OUT/triplanes: decoder.safetensors, WebDataset shards, manifest.parquet, dataset.json, a
         card, contact.png (held-out views: truth beside fit).
Work     first the decoder, jointly with the planes of the first people (one task, checkpointed);
         then one shard of people a unit, decoder frozen, by a Ray Data pool of workers.
Again    a second run goes on from the decoder's checkpoint and fits only the shards that have no
         sidecar; --retry-failed also takes those in which a person could not be fitted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra import cluster
from infra.canon import settings_hash
from infra.checkpoint import load_checkpoint, save_checkpoint
from infra.manifest import Dataset, finalize, open_dataset
from infra.shards import (
    Failure,
    KeptSamples,
    Packed,
    Unit,
    channel_stats,
    commit_unit,
    pending_units,
    plan_units,
)
from infra.storage import Store, open_store
from pipelines import models, pictures
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.options import Options, entry
from pipelines.progress import remote_bar, reporter
from pipelines.settings import FitStage, RunSettings, as_dict
from pipelines.stage import check_failures, first_samples, plan_line, worker_count
from rodin import record

DECODER = "decoder.safetensors"
SHEET_PEOPLE = 24
DESCRIPTION = (
    "Tri-planes of synthetic people, fitted with one shared decoder (decoder.safetensors), with "
    "the portrait, a few posed views and the quality on views that the fit never saw."
)


def to_views(sample: record.ViewsSample) -> Any:
    from rodin.views import Views

    return Views(sample.rgba, sample.camera_to_world, sample.intrinsics, sample.depth)


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
        threads = worker_count(context)
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
        "decoder": decoder,
        "views": settings_hash(views.info["settings"]),
    }


class FitWorker:
    """One Ray actor: fits the people of a unit and commits the shard."""

    def __init__(
        self, out: str, views_uri: str, stage: FitStage, identity: dict[str, Any], threads: int
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.store = open_store(out).child("triplanes")
        self.views = open_dataset(open_store(views_uri))
        self.stage, self.identity = stage, identity
        self.decoder = models.load_decoder(self.store)

    def person(self, key: str) -> Packed | Failure:
        """A fitted person, or the reason why there is none."""
        try:
            views = record.decode_views(self.views.read(key))
            return self.fitted(key, views)
        except (record.RecordError, ValueError) as error:
            return Failure(key, str(error), type(error).__name__)

    def fitted(self, key: str, sample: record.ViewsSample) -> Packed:
        from rodin.fit import fit_planes

        views = to_views(sample)
        result = fit_planes(
            views, self.decoder, self.stage.engine, seed=self.stage.seed + int(key) % 2**31
        )
        planes = result.planes.numpy().astype(np.float16)
        self.store.write(f"previews/{key}.png", self.preview(views, planes))
        count = min(self.stage.views_kept, len(views))
        kept = np.linspace(0, len(views), count, endpoint=False).astype(int)  # round the head
        meta = {
            **{name: sample.meta[name] for name in ("seed", "attributes", "caption", "licence")},
            "decoder": self.identity["decoder"],
            "settings": settings_hash(self.identity),
            "metrics": result.metrics,
        }
        packed = record.TriplaneSample(
            key=key,
            meta=meta,
            triplane=planes,
            portrait=sample.rgba[0],
            rgba=sample.rgba[kept],
            camera_to_world=sample.camera_to_world[kept],
            intrinsics=sample.intrinsics[kept],
        )
        return Packed(
            key,
            record.encode(packed),
            metrics=result.metrics,
            attributes=sample.meta["attributes"],
            stats=channel_stats(planes),
        )

    def preview(self, views: Any, planes: np.ndarray) -> bytes:
        """Held-out views: truth, then the stored (half precision) planes, side by side."""
        import torch

        from rodin.render import render_image

        _, held_out = views.split(self.stage.engine.held_out)
        row = []
        matrices, intrinsics = held_out.cameras()
        for i in range(min(2, len(held_out))):
            height, width = held_out.rgba.shape[1:3]
            image = render_image(
                torch.from_numpy(planes.astype(np.float32)),
                self.decoder,
                matrices[i],
                intrinsics[i],
                height,
                width,
            )
            row += [held_out.rgba[i], image.rgb.numpy()]
        return pictures.png(pictures.grid([row]))

    def __call__(self, unit: Unit) -> dict[str, Any]:
        kept = KeptSamples(self.store, unit, self.identity)
        people = (kept.get(key) or self.person(key) for key in unit.keys)
        return commit_unit(self.store, unit, people, settings=self.identity)


def contact_sheet(store: Store, units: Sequence[Unit], identity: dict[str, Any]) -> bytes:
    """Previews of the first people, a row each, with their held-out PSNR."""
    shown, labels = [], []
    for unit, packed in first_samples(store, units, identity, SHEET_PEOPLE):
        strip = pictures.from_png(store.read(f"previews/{packed.key}.png"))
        shown.append(list(np.split(strip, strip.shape[1] // strip.shape[0], axis=1)))
        score = f"{packed.metrics['psnr']:.2f} dB"
        labels.append(f"{int(packed.key)} {unit.split}: truth | fit, {score}")
    return pictures.png(pictures.grid(shown, labels, across=2))


def units_of(stage: FitStage, views: Dataset) -> list[Unit]:
    """The same people and the same split as the views."""
    return plan_units(sorted(views.keys()), stage.shard_size, views.info["lineage"]["val_fraction"])


def work(
    context: Context, todo: Sequence[Unit], views: Dataset, identity: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    resources = context.settings.resources
    threads = max(1, int(resources.cpus_per_worker))
    yield from cluster.run_units(
        todo,
        FitWorker,
        (context.out, views.store.uri, context.settings.fit, identity, threads),
        actors=min(worker_count(context), len(todo)),
        cpus_per_actor=resources.cpus_per_worker,
        gpus_per_actor=resources.gpus_per_fit,
        name="fit",
    )


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
    return units, todo, store.exists("dataset.json") and not todo


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
        with ray_session(context):
            identity = fit_identity(stage, make_decoder(context, views), views)
            _, todo, _ = plan(context, views)
            for count, _ in enumerate(work(context, todo, views, identity) if todo else (), 1):
                tracking.log_metrics({"shards_done": count}, step=count)
        sheet = contact_sheet(store, units, identity)
        store.write("contact.png", sheet)
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
        rows = list(open_dataset(store).rows())
        psnr = float(np.mean([row["metric_psnr"] for row in rows]))
        tracking.log_metrics({"held_out_psnr": psnr}, step=len(rows))
        tracking.log_artifact(sheet, "contact.png")
        tracking.log_artifact(store.read(DECODER), DECODER)
    people = sum(len(unit.keys) for unit in todo)
    print(f"fit: mean held-out PSNR {psnr:.2f} dB over {len(rows)} people")
    context.note(
        "fit", seconds[0], did=f"{people} people, mean held-out PSNR {psnr:.2f} dB", psnr=psnr
    )


def main(argv: Sequence[str] | None = None) -> None:
    entry("fit", __doc__ or "", ("fit", "resources"), launch, argv)


if __name__ == "__main__":
    main()
