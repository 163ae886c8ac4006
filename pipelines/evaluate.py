"""Measure a trained run: generated avatars against people it never saw.

Input    RUN with triplanes and models/base (and models/upsampler, models/refiner where they are);
         or models:/rodin@champion of MLflow's registry, and the run that it was trained in.
Output   a table, RUN/evaluation.json, RUN/evaluation.png, and the numbers in MLflow. A registered
         model's are in MLflow alone.
Work     one process; seconds an avatar on a CPU.
Again    a second run measures again and overwrites; the same models and settings give the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from infra.canon import settings_hash
from infra.manifest import open_dataset
from infra.storage import Store, open_store
from infra.tracking import Tracking
from pipelines import models, pictures
from pipelines.context import default_tracking, sample_stage, timed, whole_uri
from pipelines.judge import Judge
from pipelines.options import whole
from pipelines.registry import opened
from pipelines.tool import command, say

SHOWN = 6  # avatars of a kind on the page


@dataclass(frozen=True)
class Evaluate:
    """What to measure."""

    run: str  # the run: a folder, s3://bucket/prefix or models:/rodin@champion
    avatars: int = 16  # avatars to generate from seeds
    first_seed: int = 0  # seed of the first one; the others follow
    people: int = 64  # people of either split to compare with, at most
    portraits: int = 8  # held-out portraits to turn into avatars, at most
    # run whose people are compared with; default: the one that the models were trained in
    data: str = ""
    # MLflow server or sqlite:///FILE, "none" for no tracking; default: mlflow.db beside the run
    tracking: str = ""

    def __post_init__(self) -> None:
        for name in ("avatars", "people"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}={getattr(self, name)}: use at least 2")
        if self.portraits < 0 or self.first_seed < 0:
            raise ValueError(
                f"portraits={self.portraits}, first_seed={self.first_seed}: use 0 or more"
            )


def measure(
    args: Evaluate, out: Store, data: Store
) -> tuple[dict[str, float], dict[str, Any], bytes]:
    """All metrics, what they were measured on, and the page of pictures (PNG).

    `out` has the models and `data` the people."""
    shards = open_dataset(data.child("triplanes"))

    judge = Judge(out, shards, sample_stage(out), args.people, say)
    seeds = [args.first_seed + i for i in range(args.avatars)]
    say("avatars from seeds")
    made = judge.draw(seeds, [judge.latent(seed) for seed in seeds])
    found, shown = judge.sets(list(made))
    found |= judge.fits()
    novelty, nearest = judge.novelty(made, shown)
    side = judge.reference[0].real.shape[1]
    agreement, near = judge.agreement(list(made), side)
    found |= novelty | agreement
    people = judge.held_out[: args.portraits]
    portraits: list[Tensor] = []
    if people:
        quality, portraits = judge.portraits(people)
        found |= quality | judge.attributes(portraits)
    say()
    first = f"seeds {seeds[0]} to {seeds[min(SHOWN, len(seeds)) - 1]}"
    rows = [
        [images[0] for images in shown[:SHOWN]],
        [judge.train[index].real[0] for index in nearest[:SHOWN]],
    ]
    labels = [first, f"the people trained on that look nearest to {first}"]
    for who, images in list(zip(people, portraits, strict=True))[:SHOWN]:
        rows.append([who.real[0], *images[: SHOWN - 1]])
        labels.append(f"held-out {who.key}, then the avatar of that portrait")
    each = 1 if judge.refiner is None else 2
    for i, images in enumerate(near[: 2 * each]):
        rows.append(list(images))
        labels.append("near views, refined" if i % each else "near views, as rendered")
    page = pictures.grid([[im.numpy() for im in row] for row in rows], labels)
    facts = {
        "generated": len(made),
        "reference": f"{len(judge.reference)} people, {len(judge.held_out)} of them held out",
        "trained_on": len(judge.train),
        "refiner": judge.refiner is not None,
    }
    return found, facts, pictures.png(page)


def table(found: Mapping[str, float], facts: Mapping[str, Any]) -> str:
    """The metrics as lines of text."""
    wide = max(map(len, found))
    lines = [f"{name:<{wide}}  {value:10.4f}" for name, value in found.items()]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in facts.items())])


def evaluate(args: Evaluate) -> None:
    with opened(args.run, args.tracking) as (out, tags):
        judge_models(args, out, tags)


def judge_models(args: Evaluate, out: Store, tags: Mapping[str, str]) -> None:
    """Measures the models in `out`; `tags` are those of a registered model, {} for a run."""
    address = whole(args.run)
    data = whole(args.data or tags.get("out", address))
    metas = {
        name: meta["identity"]
        for name in models.KINDS
        if (meta := models.read_meta(out.child(f"models/{name}")))
    }
    with timed() as seconds:
        found, facts, page = measure(args, out, open_store(data))
    settings = {
        "avatars": args.avatars,
        "first_seed": args.first_seed,
        "people": args.people,
        "portraits": args.portraits,
    }
    tracking = Tracking(
        whole_uri(args.tracking) or default_tracking(address),
        experiment="rodin-evaluate",
        run_name=f"{address.rstrip('/').rpartition('/')[2]}-evaluate",
        settings=settings,
        tags={
            "out": address,
            "data": data,
            **{f"model_{k}": settings_hash(v) for k, v in metas.items()},
        },
    )
    if not tags:
        seal = {
            "metrics": found,
            "facts": facts,
            "settings": settings,
            "models": {name: settings_hash(meta) for name, meta in metas.items()},
            "mlflow_run": tracking.run_id,
        }
        text = json.dumps(seal, indent=2, sort_keys=True) + "\n"
        out.write("evaluation.json", text.encode())
        out.write("evaluation.png", page)
    tracking.log_metrics(found, step=0)
    tracking.log_artifact(page, "evaluation.png")
    tracking.finish()
    print(table(found, facts))
    where = tracking.ui_command() if tags else out.location("evaluation.json")
    print(f"evaluation: {where}, {seconds[0]:.0f} s")


def main(argv: Sequence[str] | None = None) -> None:
    command(Evaluate, "rodin evaluate", evaluate, argv, __doc__ or "")


if __name__ == "__main__":
    main()
