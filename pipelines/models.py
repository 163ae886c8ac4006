"""Trained models in a run: `models/STAGE/model.safetensors` with `model.json` written last."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from infra.canon import canonical_json, first_difference
from infra.storage import NotFoundError, Store
from pipelines.settings import (
    BaseStage,
    PriorStage,
    RefinerStage,
    TrainStage,
    UpsamplerStage,
    as_dict,
)
from rodin import triplane
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sight import Sight, measure_sight
from rodin.diffusion.statistics import PlaneStatistics, measure_planes
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.prior import LatentPrior, TextStatistics
from rodin.refiner import RefinerSystem

MODEL_VERSION = 1
MEASURED = 2048  # people whose planes give the mean map and deviation; more change little
SEEN = 40  # people on whom it is measured what of planes is seen
# settings of a stage that say when to train and to look, and change no weight
WATCHING = (
    "in_chain",
    "log_every",
    "checkpoint_every",
    "val_every",
    "val_samples",
    "sheet_every",
    "snapshot_every",
)
NEEDED = ("base", "upsampler")  # by sampling
KINDS: dict[str, type[TrainStage]] = {
    "base": BaseStage,
    "upsampler": UpsamplerStage,
    "refiner": RefinerStage,
    "prior": PriorStage,
}


class ModelError(ValueError):
    """A model is missing, unfinished or of another version; one line with the fix."""


def identity(stage: TrainStage, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a trained model: its settings and the data it saw. Intervals do not count."""
    settings = as_dict(stage)
    for name in WATCHING:
        settings.pop(name, None)
    return {"settings": settings, "data": dict(lineage)}


def check_identity(store: Store, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to go on with, or to reuse, a model of other settings or data."""
    difference = first_difference(found, json.loads(canonical_json(wanted)))
    if difference:
        name, old, new = difference
        raise ModelError(
            f"{store.uri} was trained with {name} = {old!r}, now it is {new!r}; use another --out,"
            f" set it back, or delete {store.uri} to train again"
        )


def load_decoder(store: Store, name: str = "decoder.safetensors") -> TriplaneDecoder:
    """A decoder out of a store."""
    try:
        data = store.read(name)
    except NotFoundError:
        raise ModelError(f"{store.location(name)} is missing; run pipelines.fit first") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.safetensors"
        path.write_bytes(data)
        return TriplaneDecoder.load(path)


def build(
    stage: TrainStage,
    mean: torch.Tensor,
    std: torch.Tensor,
    decoder: TriplaneDecoder,
    texts: TextStatistics | None = None,
    scale: torch.Tensor | None = None,
) -> BaseSystem | UpsamplerSystem | RefinerSystem | LatentPrior:
    """The untrained system of a stage; its weights follow the stage's seed.

    `mean` and `std` are of what the stage denoises: of planes, or (D,) of latents for the prior,
    which knows `texts` and `scale` too.
    """
    torch.manual_seed(stage.seed)
    if isinstance(stage, PriorStage):
        return LatentPrior(stage.model, mean, std, texts, scale)
    if isinstance(stage, BaseStage):
        return BaseSystem(stage.model, mean, std)
    if isinstance(stage, UpsamplerStage):
        return UpsamplerSystem(stage.model, mean, std, decoder)
    return RefinerSystem(stage.model, decoder)


def begin(stage: TrainStage, samples: Any, decoder: TriplaneDecoder) -> Any:
    """The untrained system of a stage on planes, with the statistics of `samples`.

    samples[i]["planes"] (3, C, R, R). The base is told what of them is seen, where it asks.
    """
    if isinstance(stage, RefinerStage):  # sees renders alone
        return blank(stage, decoder)
    planes = (samples[i]["planes"] for i in range(min(len(samples), MEASURED)))
    system = build(stage, *measure_planes(planes), decoder)
    if isinstance(system, BaseSystem) and system.encoder.faces is not None:
        known = range(min(len(samples), MEASURED))
        size, people = system.settings.size, getattr(samples, "people", len(samples))
        system.measure(
            [samples[i]["portrait"] for i in known],
            [triplane.resize(samples[i]["planes"][None].float(), size)[0] for i in known],
            [i % people for i in known],
        )
    if isinstance(system, BaseSystem) and system.settings.sight:
        sight = _sight(system.statistics, system.settings.size, samples, decoder)
        system.attach(sight)
    elif isinstance(system, UpsamplerSystem) and system.settings.sight:
        sight = _sight(system.statistics, system.settings.low_size, samples, decoder)
        system.attach(decoder, sight=sight)
    return system


def _sight(statistics: PlaneStatistics, size: int, samples: Any, decoder: TriplaneDecoder) -> Sight:
    """Of planes of the base's size: larger ones are seen alike, and take much longer."""
    std = statistics.std[:, :, 0, 0]
    low = PlaneStatistics(statistics.mean, std, decoder.config.channels, size)
    some = (samples[i]["planes"] for i in range(min(len(samples), SEEN)))
    planes = (triplane.resize(each[None].float(), size)[0] for each in some)
    return measure_sight(planes, decoder, low)


def blank(stage: TrainStage, decoder: TriplaneDecoder) -> Any:
    """The system of a stage whose statistics will come with its weights."""
    size = stage.model.latent_dim if isinstance(stage, PriorStage) else decoder.config.channels
    return build(stage, torch.zeros(size), torch.ones(size), decoder)


def save_model(
    store: Store, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any], **more: bytes
) -> None:
    """Places the weights (and other files, NAME_EXT for NAME.EXT), then model.json as the seal."""
    from safetensors.torch import save

    store.write("model.safetensors", save({k: v.contiguous() for k, v in tensors.items()}))
    for name, data in more.items():
        store.write(name.replace("_", "."), data)
    text = json.dumps({"version": MODEL_VERSION, **meta}, indent=2, sort_keys=True)
    store.write("model.json", text.encode() + b"\n")


def save_averages(
    store: Store, samples: int, states: Mapping[float, dict[str, torch.Tensor]]
) -> None:
    """Stores power-function averages: averages/SAMPLES-WIDTH.safetensors, for `rodin average`."""
    from safetensors.torch import save

    for width, state in states.items():
        tensors = {name: value.contiguous() for name, value in state.items()}
        store.write(f"averages/{samples:012d}-{width}.safetensors", save(tensors))


def read_meta(store: Store) -> dict[str, Any] | None:
    """model.json of a finished model, None where there is none."""
    try:
        meta = json.loads(store.read("model.json"))
    except NotFoundError:
        return None
    if meta.get("version") != MODEL_VERSION:
        raise ModelError(
            f"{store.location('model.json')} has version {meta.get('version')!r}, this code reads"
            f" {MODEL_VERSION}; train it again or use the release that wrote it"
        )
    return meta


def missing(out: Store, name: str) -> ModelError:
    return ModelError(
        f"{out.uri} has no trained {name}; run python -m pipelines.train --stage {name} --out"
        f" {out.uri}"
    )


def load_system(out: Store, name: str, decoder: TriplaneDecoder, device: str) -> Any:
    """A finished model of a run, ready to sample: built from its own model.json."""
    from pydantic import TypeAdapter

    store = out.child(f"models/{name}")
    meta = read_meta(store)
    if meta is None:
        raise missing(out, name)
    trained_with = meta["identity"]["data"]["decoder"]
    if trained_with != decoder.digest():
        raise ModelError(
            f"{store.uri} was trained on planes of decoder {trained_with[:12]}, the tri-planes have"
            f" {decoder.digest()[:12]}; use the decoder that belongs to it, or train again"
        )
    stage: TrainStage = TypeAdapter(KINDS[name]).validate_python(meta["identity"]["settings"])
    system = blank(stage, decoder)
    system.load_state_dict(load_tensors(store, "model.safetensors"))
    return system.eval().to(device)


def load_tensors(store: Store, name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    return load(store.read(name))
