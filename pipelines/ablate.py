"""Ablations: what each part of the method brings, on one data set of fitted tri-planes.

Input    OUT/triplanes: `rodin render` and `rodin fit` with --preset ablation, or any other.
Output   OUT/ablation/VARIANT-SEED: the model, result.json, row.png; OUT/ablation/table.md and
         sheet.png of all that are there; an MLflow run each.
Work     one process; each variant is trained, then judged as `rodin evaluate` does.
Again    a second run trains and judges only what is missing, and goes on from checkpoints.
--only NAMES takes some variants (comma between them), --seeds N at most N trainings of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infra.canon import first_difference
from infra.checkpoint import load_checkpoint
from infra.manifest import Dataset
from infra.tracking import Tracking
from pipelines import ablation_table, data, models, pictures, train
from pipelines.context import Context, open_context
from pipelines.judge import Judge
from pipelines.options import Options, UsageError, entry
from pipelines.settings import BaseStage, RunSettings, as_dict
from pipelines.variants import FULL, PAIRS, VARIANTS, DiffusionStage, Variant
from rodin import triplane
from rodin.diffusion.sampling import Noise, sample
from rodin.nn.cost import unet_cost
from rodin.training import Trainer

PEOPLE = 64  # held-out people that avatars are compared with, at most
SHOWN = 6  # avatars of seeds in a row of the sheet
PORTRAITS = 3  # and of held-out portraits
TILE = 96  # px, side of a picture on the sheet


@dataclasses.dataclass(frozen=True)
class Task:
    """One training of a variant."""

    variant: Variant
    seed: int
    stage: DiffusionStage
    root: Context  # of the run

    @property
    def label(self) -> str:
        return self.variant.label(self.seed)

    @cached_property
    def context(self) -> Context:
        """Of its own folder."""
        return folder(self.root, self.label)


def folder(context: Context, label: str) -> Context:
    """The context of a folder under OUT/ablation, tracked where the run is."""
    options = dataclasses.replace(
        context.options, out=f"{context.out}/ablation/{label}", tracking=context.tracking_uri
    )
    return open_context(options, context.settings)


def tasks_of(context: Context, only: Sequence[str], seeds: int) -> list[Task]:
    """The trainings that are asked for, and the one that upsamplers are judged with."""
    known = [variant.name for variant in VARIANTS]
    for name in only:
        if name not in known:
            raise UsageError(f"--only {name}: unknown variant; choose from {', '.join(known)}")
    wanted = {name: seeds for name in only or known}
    if any(v.kind == "upsampler" and v.name in wanted for v in VARIANTS):
        wanted.setdefault(FULL.name, 1)
    return [  # all variants once before the first one twice
        Task(variant, seed, variant.stage(context.settings, seed), context)
        for seed in range(seeds)
        for variant in VARIANTS
        if seed < min(variant.seeds, wanted.get(variant.name, 0))
    ]


def fit(task: Task, planes: Dataset, identity: dict[str, Any], tracking: Tracking) -> None:
    """Trains the model of a task unless it is there; goes on from a checkpoint."""
    kind = task.variant.kind
    store = task.context.child(f"models/{kind}")
    if meta := models.read_meta(store):
        models.check_identity(store, meta["identity"], identity)
        return
    samples = data.TriplaneSamples(planes, "train", data.names_of(task.stage))
    system = models.begin(task.stage, samples, models.load_decoder(planes.store))
    trainer = Trainer(system, task.stage.train, seed=task.seed, device=device())
    found = load_checkpoint(store.child("checkpoints"))
    if found:
        state, meta = found
        models.check_identity(store, meta["identity"], identity)
        trainer.load_state_dict(state)
    job = train.Job(
        out=task.context.out,
        name=kind,
        stage=task.stage,
        identity=identity,
        threads=torch.get_num_threads(),
        tracking=tracking.arguments(),
        progress=None,
    )
    train.run(job, trainer, store, samples, 0, 1)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def judged(task: Task, planes: Dataset) -> tuple[dict[str, float], list[Tensor]]:
    """The metrics of a trained task, and its row of the sheet: images (S, S, 3)."""
    stage = task.root.settings.sample

    def report(text: str) -> None:
        print(f"\r{task.label}: {text:<50}", end="", file=sys.stderr, flush=True)

    found: dict[str, float] = {}
    if task.variant.kind == "base":
        judge = Judge(task.context.store, planes, stage, PEOPLE, report)
    else:
        judge = Judge(folder(task.root, FULL.label(0)).store, planes, stage, PEOPLE, report)
        store = task.context.store
        judge.upsampler = models.load_system(store, "upsampler", judge.decoder, device())
        found |= upsampled(judge)
    seeds = [stage.first_seed + i for i in range(stage.count)]
    latents = [judge.latent(seed) for seed in seeds]
    if isinstance(task.stage, BaseStage) and task.stage.model.latent_dropout == 1:
        latents = [torch.zeros_like(latent) for latent in latents]  # all that it knows
    made = judge.draw(seeds, latents)
    sets, shown = judge.sets(list(made))
    portraits, likenesses = judge.portraits(judge.held_out[: stage.portraits])
    found |= sets | portraits
    print(file=sys.stderr)
    return found, [images[0] for images in shown[:SHOWN] + likenesses[:PORTRAITS]]


def upsampled(judge: Judge) -> dict[str, float]:
    """Held-out people's own planes, made small and upsampled, against their real views."""
    assert judge.upsampler is not None
    people, system = judge.held_out, judge.upsampler
    low = triplane.resize(torch.stack([p.planes for p in people]), system.settings.low_size)
    made = sample(
        system.denoiser(low.to(device())),
        system.schedule,
        system.plane_shape,
        Noise(range(len(people)), device()),
        judge.stage.generate.upsampler,
    )
    made = system.statistics.denormalise(made).cpu()
    images = [judge.of_person(planes, p) for planes, p in zip(made, people, strict=True)]
    return judge.quality("upsampled", images, people)


def perform(task: Task, planes: Dataset, lineage: dict[str, str]) -> bool:
    """Trains and judges a task; False where that was done before."""
    context = task.context
    identity = models.identity(task.stage, lineage)
    wanted = {"model": identity, "sample": as_dict(context.settings.sample)}
    old = context.read_json("result.json")
    if old:
        difference = first_difference(old["identity"], json.loads(json.dumps(wanted)))
        if difference:
            raise models.ModelError(
                f"{context.out} was made with {difference[0]} = {difference[1]!r}, now it is"
                f" {difference[2]!r}; use another --out, set it back, or delete it"
            )
        return False
    earlier = context.read_json("mlflow.json", {"run": ""})["run"]
    with context.tracked("ablate", as_dict(task.stage), resume=earlier) as tracking:
        context.write_json("mlflow.json", {"run": tracking.run_id})
        begin = time.process_time()
        fit(task, planes, identity, tracking)
        seconds = time.process_time() - begin
        store = context.child(f"models/{task.variant.kind}")
        history = [json.loads(line) for line in store.read("history.jsonl").splitlines()]
        found, row = judged(task, planes)
        found["val_loss"] = history[-1]["val_loss"]
        picture = pictures.png(pictures.grid([[image.numpy() for image in row]]))
        context.store.write("row.png", picture)
        tracking.log_metrics(found, step=task.stage.train.total_samples)
        tracking.log_artifact(picture, "row.png")
    cost = unet_cost(task.stage.model.unet, task.stage.model.size, bfloat16=False)
    context.write_json(
        "result.json",
        {
            "identity": wanted,
            "variant": task.variant.name,
            "seed": task.seed,
            "metrics": found,
            "parameters": cost.parameters,
            "training_flops": cost.training_flops,
            "cpu_seconds": seconds,
            "mlflow_run": tracking.run_id,
        },
    )
    return True


def summary(context: Context) -> str:
    """Writes the table and the sheet of all that is there; returns the table."""
    results, rows, labels = [], [], []
    for variant in VARIANTS:
        for seed in range(variant.seeds):
            home = folder(context, variant.label(seed))
            if result := home.read_json("result.json"):
                results.append(result)
                if seed == 0:
                    strip = pictures.from_png(home.store.read("row.png"))
                    rows.append(np.split(strip, strip.shape[1] // strip.shape[0], axis=1))
                    labels.append(f"{variant.name}: {variant.text}")
    text = ablation_table.markdown(VARIANTS, PAIRS, results)
    store = context.child("ablation")
    store.write("table.md", text.encode())
    store.write("sheet.png", pictures.png(pictures.grid(rows, labels, tile=TILE)))
    return text


def launch(options: Options, settings: RunSettings, only: Sequence[str], seeds: int) -> None:
    context = open_context(options, settings)
    tasks = tasks_of(context, only, seeds)
    planes, _ = train.prepare(context, "base")
    lineage = {"dataset": planes.digest, "decoder": planes.info["lineage"]["decoder"]}
    if options.dry_run:
        for task in tasks:
            done = task.context.store.exists("result.json")
            print(f"{task.label}: {task.variant.text}; {'done' if done else 'remains'}")
        return
    torch.set_num_threads(train.threads_of(context))
    count = sum(perform(task, planes, lineage) for task in tasks)
    print(summary(context))
    print(f"ablate: {count} trained, {len(tasks) - count} were there")
    print(f"table: {context.child('ablation').location('table.md')}")


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    own = argparse.ArgumentParser("rodin ablate", add_help=False, allow_abbrev=False)
    own.add_argument("--only", default="", type=lambda text: text.split(",") if text else [])
    own.add_argument("--seeds", default=3, type=int)
    found, rest = own.parse_known_args(words)
    if not any(word.partition("=")[0] == "--preset" for word in rest):
        rest = ["--preset", "ablation", *rest]

    def run(options: Options, settings: RunSettings) -> None:
        if found.seeds < 1:
            raise UsageError(f"--seeds {found.seeds}: use at least 1")
        launch(options, settings, found.only or (), found.seeds)

    entry("ablate", __doc__ or "", ("base", "upsampler", "sample", "resources"), run, rest)


if __name__ == "__main__":
    main()
