"""A small run over analytic heads: its tri-planes and models are of the right shape alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from infra.manifest import finalize
from infra.plan import Unit
from infra.shards import Packed, commit_unit
from infra.storage import open_store
from pipelines import models
from pipelines.presets import TINY
from pipelines.settings import as_dict
from rodin import record
from rodin.decoder import TriplaneDecoder
from tests.rodin import scenes

SIZE = 32
TRAIN, VAL = [f"{i:09d}" for i in range(4)], ["000000099"]


def captions(key: str) -> list[str]:
    who = "man with a beard" if int(key) % 2 else "woman with curly hair"
    return [f"A portrait of a {who}.", f"young {who}"]


def facts(key: str) -> dict[str, object]:
    """Columns as the avatar factory has them; men and women take turns."""
    odd = int(key) % 2
    return {
        "gender": "man" if odd else "woman", "years": 30.0, "skin_tone": "tan",
        "hair_style": "short", "hair_colour": "brown", "beard": "full" if odd else "none",
        "glasses": "none", "headwear": "none", "garment": "polo", "expression": "neutral",
    }  # fmt: skip


def head(key: str, decoder: TriplaneDecoder) -> dict[str, bytes]:
    """Views of a head, and planes that are of the right shape alone."""
    views = scenes.views(seed=int(key), count=4, size=SIZE, samples=1)
    channels = decoder.config.channels
    coarse = torch.randn(3, channels, 4, 4, generator=torch.Generator().manual_seed(int(key)))
    planes = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return record.encode(
        record.TriplaneSample(
            key,
            {"captions": captions(key), "attributes": facts(key)},
            planes.half().numpy(),
            views.rgba[0],
            views.rgba,
            views.camera_to_world.astype(np.float64),
            views.intrinsics.astype(np.float64),
        )
    )


def make(folder: Path, train: Sequence[str] = TRAIN) -> Path:
    """A run in `folder`: tri-planes, and models as before training."""
    store = open_store(str(folder))
    planes = store.child("triplanes")
    decoder = TriplaneDecoder(dataclasses.replace(TINY.fit.engine.decoder, density_bias=-1.0))
    (folder / "triplanes").mkdir(parents=True)
    decoder.save(folder / "triplanes/decoder.safetensors")
    units = [Unit("train", 0, tuple(train)), Unit("val", 0, tuple(VAL))]
    for unit in units:
        metrics = {"psnr": 20.0, "ssim": 0.9}
        members = [Packed(key, head(key, decoder), metrics) for key in unit.keys]
        commit_unit(planes, unit, members, settings={})
    lineage = {"decoder": decoder.digest()}
    finalize(planes, dataset="triplanes", units=units, settings={}, lineage=lineage)
    for name in models.KINDS:
        stage = getattr(TINY, name)
        system = models.blank(stage, decoder)
        identity = models.identity(stage, {"dataset": "", "decoder": decoder.digest()})
        more = {}
        if name == "base":
            from safetensors.torch import save

            latents = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
            more["latents_safetensors"] = save({"latents": latents})
        meta = {"identity": identity, "samples": 0}
        models.save_model(store.child(f"models/{name}"), system.state_dict(), meta, **more)
    config = {"settings": {"sample": as_dict(TINY.sample)}, "digest": ""}
    store.write("config.json", json.dumps(config).encode())
    return folder


def portraits(folder: Path, train: Sequence[str], val: Sequence[str]) -> None:
    """People of whom there is nothing but a portrait, in `portraits/views` of a run's folder."""
    store = open_store(str(folder / "portraits/views"))
    units = [Unit("train", 0, tuple(train)), Unit("val", 0, tuple(val))]
    for unit in units:
        commit_unit(store, unit, [_portrait(key) for key in unit.keys], settings={})
    finalize(store, dataset="views", units=units, settings={})


def _portrait(key: str) -> Packed:
    views = scenes.views(seed=int(key), count=1, size=SIZE, samples=1)
    to_world, lenses = (x.astype(np.float64) for x in (views.camera_to_world, views.intrinsics))
    meta = {"captions": captions(key), "attributes": facts(key), "seed": int(key)}
    sample = record.ViewsSample(key, meta, to_world, lenses, views.rgba)
    return Packed(key, record.encode(sample), attributes=facts(key))
