"""Stage train: tri-planes -> a diffusion model.

Input    OUT/triplanes (pipelines.fit); --stage base also uses the portraits, --stage upsampler and
         --stage refiner the views and the frozen decoder, --stage prior the captions and the base.
Output   OUT/models/STAGE: model.safetensors (EMA weights), model.json, history.jsonl, checkpoints,
         sheets/SAMPLES.png, averages/ where rodin average can make other averages of them.
Work     one Ray Train job; ranks share the data by position, progress is counted in samples seen.
Again    a second run resumes from the last checkpoint, exactly, and does nothing once it is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from infra.canon import settings_hash
from infra.checkpoint import load_checkpoint, save_checkpoint
from infra.lease import Lease
from infra.manifest import Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines import data, latents, models, registry
from pipelines.context import Context, open_context, ray_session, timed
from pipelines.options import Options, entry
from pipelines.progress import remote_bar, reporter
from pipelines.settings import PriorStage, RefinerStage, RunSettings, TrainStage, as_dict
from pipelines.train_job import Job, begun, needs, views_of
from pipelines.watch import Meter, Watch

MAX_RESTARTS = 3  # of a lost worker or node


def train_loop(config: dict[str, Any]) -> None:
    """One rank of Ray Train. A caller's mistake is reported, not retried."""
    job: Job = config["job"]
    import ray

    try:
        train(job)
    except ValueError as error:
        ray.get(job.progress.fail.remote(f"{error}"))


def train(job: Job) -> None:
    import torch
    from ray import train as ray_train
    from ray.train import torch as ray_torch

    from rodin.training import Trainer

    context = ray_train.get_context()
    rank, ranks = context.get_world_rank(), context.get_world_size()
    device = ray_torch.get_device()
    torch.set_num_threads(job.threads)
    store = open_store(job.out).child(f"models/{job.name}")
    planes = open_dataset(open_store(job.out).child("triplanes"))
    samples, system = begun(job, planes, store, device)
    shard = job.sharded and ranks > 1
    wrap = ray_torch.prepare_model if ranks > 1 and not shard else None
    trainer = Trainer(
        system,
        job.stage.train,
        seed=job.stage.seed,
        device=device,
        rank=rank,
        workers=ranks,
        wrap=wrap,
        shard=shard,
    )
    resume(job, trainer, store)
    run(job, trainer, store, samples, rank, ranks)


def resume(job: Job, trainer: Any, store: Store) -> None:
    """Goes on from the last checkpoint where there is one. ModelError if it is of another job."""
    found = load_checkpoint(store.child("checkpoints"))
    if found:
        state, meta = found
        models.check_identity(store, meta["identity"], job.identity)
        trainer.load_state_dict(state)


def run(job: Job, trainer: Any, store: Store, samples: Any, rank: int, ranks: int) -> None:
    """Steps to the end of the stage; rank 0 logs, validates, draws, saves and finishes.

    Where weights are sharded, the trainer's averages and state are gathered by all ranks together.
    """
    stage, batch = job.stage, job.stage.train.batch_size
    begin = trainer.samples_seen
    watch = Watch(store, stage, samples, job.tracking, begin) if rank == 0 else None
    report = reporter(job.progress)
    feed = data.batches(samples, batch=batch, seed=stage.seed, start=begin, rank=rank, ranks=ranks)
    meter = Meter()
    with contextlib.closing(feed):
        while not trainer.done:
            before = trainer.samples_seen
            meter.step(trainer, feed)
            seen, end = trainer.samples_seen, trainer.done

            def due(every: int, before: int = before, seen: int = seen, end: bool = end) -> bool:
                return bool(every) and (seen // every > before // every or end)

            looks = due(stage.val_every) or due(stage.sheet_every)
            averaged = trainer.ema if looks else None
            if due(stage.log_every):
                row = meter.row(seen, batch)
                report(seen, f"loss {row['loss']:.4f}")
                if watch is not None:
                    watch.point(row, averaged if due(stage.val_every) else None)
                meter = Meter()
            if due(stage.sheet_every) and watch is not None:
                watch.sheet(seen, averaged)
            if due(stage.snapshot_every):
                states = trainer.averages
                if watch is not None:
                    models.save_averages(store, seen, states)
            if due(stage.checkpoint_every):
                state = trainer.state_dict()
                if watch is not None:
                    watch.save()
                    meta = {"identity": job.identity, "samples": seen}
                    save_checkpoint(store.child("checkpoints"), state, meta)
    averaged = trainer.ema
    if watch is not None:
        meta = {"identity": job.identity, "stage": job.name, "samples": trainer.samples_seen}
        finish(store, averaged, samples, meta)
        watch.tracking.flush()


def finish(store: Store, system: Any, samples: Any, meta: dict[str, Any]) -> None:
    """The weights, the base's latents of the training portraits, the prior's traits; the seal."""
    import torch
    from safetensors.torch import save

    more = {}
    if meta["stage"] == "base":
        system.eval()
        device = next(system.parameters()).device
        with torch.no_grad():
            found = [
                system.encode(samples[i]["portrait"][None].to(device))[0].cpu().float()
                for i in range(len(samples))
            ]
        more["latents_safetensors"] = save({"latents": torch.stack(found)})
    if meta["stage"] == "prior":
        more["traits_json"] = json.dumps(samples.traits()).encode()
    models.save_model(store, system.state_dict(), meta, **more)


def threads_of(context: Context) -> int:
    return context.settings.resources.cpus_per_train_worker or os.cpu_count() or 1


def fit(context: Context, job: Job) -> None:
    """Launches Ray Train and shows its progress here."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    resources = context.settings.resources
    with (
        tempfile.TemporaryDirectory(prefix="rodin-train-") as scratch,
        remote_bar(job.stage.train.total_samples, f"train {job.name}", "sample") as progress,
    ):
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": dataclasses.replace(job, progress=progress)},
            scaling_config=ScalingConfig(
                num_workers=resources.train_workers,
                use_gpu=resources.train_on_gpu,
                resources_per_worker={"CPU": job.threads},
            ),
            run_config=RunConfig(
                storage_path=scratch, failure_config=FailureConfig(max_failures=MAX_RESTARTS)
            ),
        )
        trainer.fit()
        problem = ray.get(progress.problem.remote())
    if problem:
        raise models.ModelError(f"train {job.name}: {problem}")


def prepare(context: Context, name: str) -> tuple[Dataset, dict[str, Any]]:
    """The tri-planes, checked, and what will decide the model. Raises before any long work.

    The prior's data are made here: latents and embedded captions.
    """
    planes = open_dataset(
        context.child("triplanes"), command=f"python -m pipelines.fit --out {context.out}"
    )
    planes.check_shards()
    decoder = models.load_decoder(planes.store).digest()
    made_with = planes.info["lineage"]["decoder"]
    if decoder != made_with:
        raise models.ModelError(
            f"{planes.store.uri}: decoder.safetensors has digest {decoder[:12]}, the planes were"
            f" fitted with {made_with[:12]}; restore the decoder that belongs to them"
        )
    lineage = {"dataset": planes.digest, "decoder": decoder}
    return planes, models.identity(getattr(context.settings, name), lineage)


def people_of(
    context: Context, sources: Sequence[Dataset], stage: PriorStage
) -> tuple[tuple[str, str], ...]:
    """Latents of the run's base and, with texts, embedded captions; the addresses of the data sets
    and the names of their tables."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoder = models.load_decoder(sources[0].store)
    base = models.load_system(context.store, "base", decoder, device)
    wide, given = base.settings.encoder.latent_dim, stage.model.latent_dim
    if wide != given:
        raise models.ModelError(
            f"prior.model.latent_dim={given}, but the base's latents have {wide} numbers; set it to"
            " that"
        )
    tables = [(shards, latents.ensure_table(shards, base)) for shards in sources]
    if stage.text:
        store = context.child("models/prior")
        latents.ensure_texts(tables, store, stage.text, stage.model.text_dim)
    return tuple((shards.store.uri, table) for shards, table in tables)


def launch_stage(name: str, options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    stage: TrainStage = getattr(settings, name)
    store = context.child(f"models/{name}")
    total, batch = stage.train.total_samples, stage.train.batch_size
    plan = f"train {name}: {total:,} samples in batches of {batch}"
    if options.dry_run and not context.store.exists("triplanes/dataset.json"):
        print(f"{plan}; waits for pipelines.fit")
        return
    planes, identity = prepare(context, name)
    for other in needs(stage):
        found = models.read_meta(context.child(f"models/{other}"))
        if found is None and options.dry_run:
            print(f"{plan}; waits for pipelines.train --stage {other}")
            return
        if found is None:
            raise models.missing(context.store, other)
        identity["data"][other] = settings_hash(found["identity"])
    views: Dataset | None = None
    if isinstance(stage, RefinerStage | PriorStage):
        views = views_of(context.store, stage.views)
    if views is not None:
        views.check_shards()
        identity["data"]["views"] = views.digest
    meta = models.read_meta(store)
    if meta:
        models.check_identity(store, meta["identity"], identity)
    if meta or options.dry_run:
        print(f"{plan}; {'nothing to do' if meta else 'remains'}")
        return
    context.explain()
    with timed() as seconds, Lease(store, "driver.json", f"training {name}"), ExitStack() as stack:
        earlier = context.read_json(f"models/{name}/mlflow.json", {"run": ""})["run"]
        tracking = stack.enter_context(
            context.tracked(f"train-{name}", as_dict(stage), resume=earlier)
        )
        context.write_json(f"models/{name}/mlflow.json", {"run": tracking.run_id})
        tracking.log_dataset("triplanes", planes.digest, planes.store.uri)
        sources = [planes] if views is None else [planes, views]
        tables = people_of(context, sources, stage) if isinstance(stage, PriorStage) else ()
        job = Job(
            out=context.out,
            name=name,
            stage=stage,
            identity=identity,
            threads=threads_of(context),
            tracking=tracking.arguments(),
            progress=None,
            sharded=context.settings.resources.train_sharded,
            tables=tables,
            views=views.store.uri if views is not None else "",
        )
        with ray_session(context):
            fit(context, job)
        tracking.log_artifact(store.read("model.json"), "model.json")
        registry.announce(registry.register_part, context.store, name, tracking)
    rate = total / seconds[0]
    did = f"{total:,} samples, {rate:.1f} a second"
    context.note(f"train {name}", seconds[0], did=did, model=settings_hash(identity))


def chain(settings: RunSettings) -> tuple[str, ...]:
    """The models of a whole run, in the order in which they are trained."""
    wanted = {name: getattr(settings, name).in_chain for name in ("refiner", "prior")}
    return tuple(name for name in models.KINDS if wanted.get(name, True))


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    only: tuple[str, ...] = ()
    for i, word in enumerate(words):
        if word == "--stage" or word.startswith("--stage="):
            value = word.partition("=")[2] or (words[i + 1] if i + 1 < len(words) else "")
            del words[i : i + (1 if "=" in word else 2)]
            if value not in models.KINDS:
                print(
                    f"error: unknown --stage {value!r}; choose one of: {', '.join(models.KINDS)}",
                    file=sys.stderr,
                )
                raise SystemExit(2)
            only = (value,)
            break

    def launch(options: Options, settings: RunSettings) -> None:
        for name in only or chain(settings):
            launch_stage(name, options, settings)

    text = (
        f"{__doc__}\n--stage {'|'.join(models.KINDS)} picks one; without it they are trained in"
        " turn, refiner and prior where their in_chain says so."
    )
    entry("train", text, (*(only or models.KINDS), "resources"), launch, words)


if __name__ == "__main__":
    main()
