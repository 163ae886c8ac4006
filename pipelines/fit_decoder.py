"""Phase 1 of stage fit: the shared decoder, jointly with the planes of the first people.

One Ray Train job. Its ranks (--resources.decoder-workers) hold the people and their planes by
turns, and sum the decoder's gradient; rank 0 writes the checkpoints and the decoder.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.checkpoint import load_checkpoint, save_checkpoint
from infra.manifest import Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines import models
from pipelines.context import Context
from pipelines.fit_worker import to_views
from pipelines.progress import remote_bar, reporter
from pipelines.settings import FitStage, as_dict
from rodin import record

if TYPE_CHECKING:
    import torch

    from rodin.fit import Views
    from rodin.fit_ranks import Ranks

DECODER = "decoder.safetensors"
SEAL = "triplanes/decoder.json"
CHECKPOINTS = 50  # at most, of one decoder: each holds the planes of all its people
CHECKPOINT_STEPS = 200  # between two of them, at least
MAX_RESTARTS = 3  # of a lost worker or node
_RAYS_A_THREAD = 1024


@dataclasses.dataclass(frozen=True)
class Job:
    """What every rank gets."""

    out: str
    views: str  # URI
    stage: FitStage
    identity: dict[str, Any]
    threads: int
    progress: Any  # ProgressActor


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


def train_loop(config: dict[str, Any]) -> None:
    """One rank of Ray Train. A caller's mistake is reported, not retried."""
    import ray
    import torch
    from ray import train as ray_train
    from ray.train import torch as ray_torch

    from rodin.fit_ranks import Ranks

    job: Job = config["job"]
    torch.set_num_threads(job.threads)
    context, device = ray_train.get_context(), ray_torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what NCCL sends objects through
    ranks = Ranks(context.get_world_rank(), context.get_world_size())
    try:
        train(job, ranks, device, reporter(job.progress))
    except ValueError as error:  # the same one on all ranks
        ray.get(job.progress.fail.remote(f"{error}"))


def beginning(
    job: Job, saves: Store, keys: list[str], ranks: Ranks
) -> tuple[list[Views], dict[str, Any] | None]:
    """The views of this rank's people, and the checkpoint to go on from, if there is one.

    What one rank cannot read ends all of them.
    """
    error: ValueError | None = None
    people: list[Views] = []
    found: tuple[dict[str, Any], dict[str, Any]] | None = None
    try:
        views = open_dataset(open_store(job.views))
        people = [to_views(record.decode_views(views.read(key))) for key in keys]
        found = load_checkpoint(saves)
        if found:
            models.check_identity(saves, found[1]["identity"], job.identity)
    except ValueError as problem:
        error = problem
    ranks.raise_together(error)
    return people, found[0] if found else None


def train(
    job: Job, ranks: Ranks, device: torch.device, report: Callable[[float, str], None]
) -> None:
    """Goes on from the last checkpoint; writes the decoder, and the seal last."""
    import torch

    from rodin.fit import evaluate, fit_decoder

    engine, keys = job.stage.engine, job.identity["subjects"]
    store = open_store(job.out).child("triplanes")
    saves = store.child("decoder-checkpoints")
    people, state = beginning(job, saves, keys[ranks.rank :: ranks.count], ranks)

    def checkpoint(state: dict[str, Any]) -> None:
        save_checkpoint(saves, state, {"identity": job.identity, "samples": int(state["step"])})

    decoder, planes = fit_decoder(
        people,
        engine,
        seed=job.stage.seed,
        progress=lambda step, steps, terms: report(step, f"loss {terms['total']:.4f}"),
        state=state,
        on_checkpoint=checkpoint,
        checkpoint_every=max(CHECKPOINT_STEPS, engine.decoder_steps // CHECKPOINTS),
        device=device,
        ranks=ranks,
    )
    psnr = torch.zeros(2, device=device)
    for place, number in enumerate((0, len(keys) - 1)):
        if number % ranks.count == ranks.rank:
            mine = number // ranks.count
            _, held_out = people[mine].split(engine.held_out)
            scores = evaluate(planes[mine], decoder, held_out, samples=engine.render_samples)
            psnr[place] = scores["psnr"]
    first, last = ranks.total(psnr).tolist()
    if ranks.rank == 0:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / DECODER
            decoder.save(path)
            store.write(DECODER, path.read_bytes())
        seal = {"identity": job.identity, "decoder": decoder.digest()}
        seal |= {"psnr": {"first": first, "last": last}}
        store.write("decoder.json", models.canonical_json(seal))


def launch(context: Context, views: Dataset, identity: dict[str, Any]) -> None:
    """Runs the Ray Train job and shows its progress here."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    resources, stage = context.settings.resources, context.settings.fit
    workers = resources.decoder_workers
    # A second thread pays from about a thousand rays on; below, both wait for each other.
    cores = (resources.workers or os.cpu_count() or 1) // workers
    threads = max(1, min(cores, stage.engine.rays_per_step // workers // _RAYS_A_THREAD))
    with (
        tempfile.TemporaryDirectory(prefix="rodin-decoder-") as scratch,
        remote_bar(stage.engine.decoder_steps, "shared decoder", "step") as progress,
    ):
        job = Job(context.out, views.store.uri, stage, identity, threads, progress)
        TorchTrainer(
            train_loop,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=resources.gpus_per_fit > 0,
                resources_per_worker={"CPU": 1},
            ),
            run_config=RunConfig(
                storage_path=scratch, failure_config=FailureConfig(max_failures=MAX_RESTARTS)
            ),
        ).fit()
        problem = ray.get(progress.problem.remote())
    if problem:
        raise models.ModelError(f"shared decoder: {problem}")


def make_decoder(context: Context, views: Dataset) -> dict[str, Any]:
    """Phase 1 unless it is done; returns its seal: the decoder's digest and, as psnr, the first
    and the last subject's on held-out views."""
    store = context.child("triplanes")
    identity = decoder_identity(context.settings.fit, views)
    if context.read_json(SEAL) is None:
        launch(context, views, identity)
    seal = context.read_json(SEAL)
    models.check_identity(store, seal["identity"], identity)
    found = models.load_decoder(store).digest()
    if found != seal["decoder"]:
        raise models.ModelError(
            f"{store.location(DECODER)} is not the decoder that this run trained (digest"
            f" {found[:12]}, expected {seal['decoder'][:12]}); restore it, or use another --out"
        )
    return seal
