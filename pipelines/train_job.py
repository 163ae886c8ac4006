"""What a training stage is given: its job, and the samples and system that a rank begins with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from infra.manifest import Dataset, open_dataset
from infra.storage import Store, open_store
from pipelines import data, latents, models
from pipelines.pairs import Pairs
from pipelines.settings import PriorStage, RefinerStage, TrainStage, UpsamplerStage
from rodin.decoder import TriplaneDecoder


@dataclass(frozen=True)
class Job:
    """What every rank gets."""

    out: str
    name: str  # one of models.KINDS
    stage: TrainStage
    identity: dict[str, Any]
    threads: int
    tracking: dict[str, Any]  # arguments of Tracking
    progress: Any  # ProgressActor
    sharded: bool = False  # weights in pieces over the ranks
    # data sets whose people the prior learns, and the names of their tables of latents
    tables: tuple[tuple[str, str], ...] = ()
    views: str = ""  # address of a data set of views, for the refiner


def begun(job: Job, planes: Dataset, store: Store, device: Any = "cpu") -> tuple[Any, Any]:
    """What a stage trains with, and its system before the first step.

    `device` has the models that make what is trained on.
    """
    from rodin.diffusion.upsampler import UpsamplerSystem
    from rodin.prior import measure_latents

    if isinstance(job.stage, PriorStage):
        texts = store if job.stage.text else None
        sources = [(open_dataset(open_store(uri)), table) for uri, table in job.tables]
        people = latents.LatentSamples(sources, "train", texts, job.stage.mirror)
        mean, std = measure_latents(people.latents)
        said = people.measure_texts()
        decoder = models.load_decoder(planes.store)
        base = models.load_system(open_store(job.out), "base", decoder, "cpu")
        scale = latents.scale_of(base, std)
        return people, models.build(job.stage, mean, std, decoder, said, scale)
    decoder = models.load_decoder(planes.store)
    turned = getattr(job.stage, "mirror", False)
    if turned and decoder.config.direction_frequencies:
        raise models.ModelError(
            f"{job.name}.mirror=True, but the decoder sees view directions, which mirrored planes"
            f" do not turn; train with --{job.name}.no-mirror"
        )
    if isinstance(job.stage, RefinerStage):
        pairs = pairs_of(job, job.stage, planes, decoder, device)
        return pairs, models.begin(job.stage, pairs, decoder)
    samples = data.TriplaneSamples(planes, "train", data.names_of(job.stage), turned)
    system = models.begin(job.stage, samples, decoder)
    if needs(job.stage) and isinstance(system, UpsamplerSystem):
        base = models.load_system(open_store(job.out), "base", decoder, "cpu")
        system.attach(decoder, base=base)
    return samples, system


def pairs_of(
    job: Job, stage: RefinerStage, planes: Dataset, decoder: TriplaneDecoder, device: Any
) -> Pairs:
    """People's planes and real views, as the stage wants them."""
    views = open_dataset(open_store(job.views)) if job.views else None
    made = None
    if stage.generated:
        base, upsampler = (
            models.load_system(open_store(job.out), name, decoder, device) for name in needs(stage)
        )
        made = (base, upsampler)
    return Pairs(
        planes, "train", mirror=stage.mirror, views=views, models=made, sampling=stage.sampling
    )


def needs(stage: TrainStage) -> tuple[str, ...]:
    """The models whose work a stage learns from."""
    if isinstance(stage, RefinerStage):
        return ("base", "upsampler") if stage.generated else ()
    learns = isinstance(stage, PriorStage) or (
        isinstance(stage, UpsamplerStage) and stage.model.from_base > 0
    )
    return ("base",) if learns else ()


def views_of(out: Store, place: str) -> Dataset | None:
    """The data set of views at a place in the run or an address; None for ''."""
    if not place:
        return None
    inside = "://" not in place and not os.path.isabs(place)
    store = out.child(place) if inside else open_store(place)
    run = store.uri.removesuffix("/views")
    return open_dataset(store, command=f"python -m pipelines.render --out {run}")
