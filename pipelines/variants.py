"""The ablations of Rodin (arXiv 2212.06135, sections 4.1 to 4.3) as a preset and changes to it.

The preset is the full method, small enough for a CPU. A variant changes a few of its settings. The
networks that a pair compares have equal parameters: where one needs more a channel, it is narrower.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pipelines.settings import (
    BaseStage,
    FitStage,
    PriorStage,
    RenderStage,
    RunSettings,
    SampleStage,
    UpsamplerStage,
)
from rodin.decoder import DecoderConfig
from rodin.diffusion.base import BaseSettings
from rodin.diffusion.sampling import SamplerSettings
from rodin.diffusion.schedule import ScheduleSettings
from rodin.diffusion.targets import WeightSettings
from rodin.diffusion.upsampler import PatchSettings, UpsamplerSettings
from rodin.fit import FitSettings
from rodin.generate import GenerateSettings
from rodin.nn.encoder import EncoderSettings
from rodin.nn.unet import UNetSettings
from rodin.prior import PriorSettings
from rodin.training import TrainSettings

T = TypeVar("T")
DiffusionStage = BaseStage | UpsamplerStage

ABLATION = RunSettings(
    # 64 people to train with and 22 held out
    render=RenderStage(avatars=86, views=24, size=64, shard_size=4, val_fraction=0.2),
    fit=FitStage(
        subjects=16,
        views_kept=4,
        engine=FitSettings(
            decoder=DecoderConfig(channels=8, hidden=32),
            held_out=2,
            steps=150,
            rays_per_step=1024,
            empty_points=512,
            compact_points=128,
            decoder_steps=300,
            smooth_weight=1.0,  # rough planes are noise to a diffusion
        ),
    ),
    base=BaseStage(
        log_every=400,
        checkpoint_every=2000,
        val_every=2000,
        val_samples=22,
        sheet_every=0,
        model=BaseSettings(
            size=32,
            output="x0",
            weight=WeightSettings(kind="velocity"),
            schedule=ScheduleSettings(log_snr_start=6.0, log_snr_end=-12.0),
            unet=UNetSettings(
                plane_channels=8,
                width=40,
                multipliers=(1, 2),
                blocks=1,
                patch=4,
                attention_levels=(1,),
                head_channels=8,
                aware_levels=(0,),
                latent_dim=64,
                position_octaves=2,
            ),
            encoder=EncoderSettings(latent_dim=64, width=16, size=64),
        ),
        train=TrainSettings(
            total_samples=4000,
            batch_size=8,
            learning_rate=2e-3,
            beta2=0.99,
            warmup_samples=160,
            decay="cosine",
            ema_halflife=400.0,
        ),
    ),
    upsampler=UpsamplerStage(
        log_every=80,
        checkpoint_every=400,
        val_every=400,
        val_samples=22,
        sheet_every=0,
        model=UpsamplerSettings(
            size=64,
            low_size=32,
            perceptual_weight=0.1,
            unet=UNetSettings(
                plane_channels=8,
                condition_channels=8,
                width=32,
                multipliers=(1, 2),
                blocks=1,
                patch=4,
                attention_levels=(),
                aware_levels=(0, 1),
                latent_dim=0,
                position_octaves=2,
                strength_input=True,
            ),
            patch=PatchSettings(size=32, samples=32, subjects=1, occupancy=32),
        ),
        train=TrainSettings(
            total_samples=800,
            batch_size=4,
            learning_rate=1e-3,
            beta2=0.99,
            warmup_samples=80,
            decay="cosine",
            ema_halflife=160.0,
        ),
    ),
    prior=PriorStage(in_chain=False, model=PriorSettings(latent_dim=64)),
    sample=SampleStage(
        count=16,
        portraits=8,
        render_samples=48,
        generate=GenerateSettings(
            base=SamplerSettings(steps=25), upsampler=SamplerSettings(steps=6), strength=0.1
        ),
    ),
)


@dataclass(frozen=True)
class Variant:
    """A model of the preset with some settings changed."""

    name: str
    kind: Literal["base", "upsampler"]
    text: str  # what it is, for the table
    change: Mapping[str, Any]  # dotted settings of its stage to their values
    seeds: int = 1  # trainings, of seeds 0, 1, ...

    def stage(self, settings: RunSettings, seed: int) -> DiffusionStage:
        stage: DiffusionStage = getattr(settings, self.kind)
        # An upsampler here has no base beside it to start from.
        alone = {"model.from_base": 0.0} if self.kind == "upsampler" else {}
        return changed(stage, {**self.change, **alone, "seed": seed})

    def label(self, seed: int) -> str:
        return f"{self.name}-{seed}"


@dataclass(frozen=True)
class Pair:
    """Two variants that differ in one thing."""

    what: str
    worse: str  # by the paper
    better: str


def changed(settings: T, change: Mapping[str, Any]) -> T:
    """A copy of nested settings with dotted names set, all at once; TypeError for unknown ones."""
    new: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in change.items():
        first, _, rest = name.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = value
        else:
            new[first] = value
    new |= {name: changed(getattr(settings, name), part) for name, part in inner.items()}
    return dataclasses.replace(settings, **new)  # type: ignore[type-var]


_PLAIN = {"model.unet.aware_levels": (), "model.unet.width": 44}

FULL = Variant("full", "base", "roll-out, 3D-aware, latent, strong schedule", {}, seeds=3)
UPSAMPLED = Variant("upsampler", "upsampler", "augmented condition, image-level loss", {})
VARIANTS = (
    FULL,
    Variant("plain", "base", "roll-out, plain convolutions", _PLAIN, seeds=3),
    Variant(
        "stack",
        "base",
        "planes stacked along channels, plain convolutions",
        {
            "model.unet.aware_levels": (),
            "model.unet.arrangement": "stack",
            "model.unet.width": 42,
            "model.unet.head_channels": 12,
        },
        seeds=3,
    ),
    # never told the latent in training, so that only zeros are known: the same network
    Variant("no-latent", "base", "without the latent", {"model.latent_dropout": 1.0}),
    Variant("weak", "base", "weak noise schedule", {"model.schedule.shift": 4.0}),
    UPSAMPLED,
    Variant(
        "no-augment",
        "upsampler",
        "without condition augmentation",
        {"model.augment.noise": 0.0, "model.augment.blur": 0.0, "model.augment.shrink": 0.0},
    ),
    Variant(
        "no-image-loss",
        "upsampler",
        "without image-level loss",
        {"model.patch_weight": 0.0, "model.perceptual_weight": 0.0},
    ),
)
PAIRS = (
    Pair("roll-out against channel stack", "stack", "plain"),
    Pair("3D-aware against plain convolution", "plain", "full"),
    Pair("latent against none", "no-latent", "full"),
    Pair("strong against weak schedule", "weak", "full"),
    Pair("condition augmentation against none", "no-augment", "upsampler"),
    Pair("image-level loss against none", "no-image-loss", "upsampler"),
)
