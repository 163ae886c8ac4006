"""The named starting points of a run. Every number can be overridden on the command line."""

from __future__ import annotations

import dataclasses

from pipelines.presets_gpu import PAPER, SINGLE_GPU
from pipelines.settings import (
    BaseStage,
    FitStage,
    PriorStage,
    RefinerStage,
    RenderStage,
    RunSettings,
    SampleStage,
    UpsamplerStage,
)
from pipelines.variants import ABLATION
from rodin.decoder import DecoderConfig
from rodin.diffusion.augment import AugmentSettings
from rodin.diffusion.base import BaseSettings
from rodin.diffusion.sampling import SamplerSettings
from rodin.diffusion.schedule import ScheduleSettings
from rodin.diffusion.targets import WeightSettings
from rodin.diffusion.upsampler import PatchSettings, UpsamplerSettings
from rodin.fit import FitSettings
from rodin.generate import GenerateSettings
from rodin.nn.encoder import EncoderSettings
from rodin.nn.refiner import RefinerNetSettings
from rodin.nn.unet import UNetSettings
from rodin.prior import PriorSettings
from rodin.refiner import RefinerSettings
from rodin.training import TrainSettings

# A test: every stage for real, minutes on two cores. Its avatars are not worth looking at.
TINY = RunSettings(
    render=RenderStage(
        avatars=3,
        views=8,
        size=48,
        samples=2,
        focal_jitter=0.02,
        normals=True,
        labels=True,
        landmarks=True,
        shard_size=1,
        val_fraction=0.3,
    ),
    fit=FitStage(
        subjects=2,
        views_kept=2,
        shard_size=1,
        engine=FitSettings(
            decoder=DecoderConfig(channels=8, hidden=24),
            resolution=32,
            base_resolution=16,
            held_out=2,
            steps=60,
            decoder_steps=120,
            rays_per_step=512,
            occupancy_size=48,
            depth_band=0.2,
            surface_band=0.1,
            render_samples=48,
        ),
    ),
    base=BaseStage(
        log_every=16,
        checkpoint_every=32,
        val_every=32,
        sheet_every=32,
        snapshot_every=16,
        model=BaseSettings(
            size=16,
            unet=UNetSettings(
                plane_channels=8,
                width=16,
                multipliers=(1, 2),
                blocks=1,
                attention_levels=(1,),
                head_channels=16,
                aware_levels=(0,),
                latent_dim=16,
            ),
            encoder=EncoderSettings(latent_dim=16, width=8, size=32),
        ),
        train=TrainSettings(
            total_samples=96,
            batch_size=4,
            learning_rate=1e-3,
            warmup_samples=8,
            ema_halflife=32.0,
            ema_widths=(0.05, 0.1),
        ),
    ),
    upsampler=UpsamplerStage(
        log_every=8,
        checkpoint_every=16,
        val_every=16,
        sheet_every=16,
        model=UpsamplerSettings(
            size=32,
            low_size=16,
            from_base=0.5,
            unet=UNetSettings(
                plane_channels=8,
                condition_channels=8,
                width=16,
                multipliers=(1, 2),
                blocks=1,
                attention_levels=(),
                aware_levels=(0, 1),
                latent_dim=0,
                strength_input=True,
            ),
            patch=PatchSettings(size=16, samples=24),
        ),
        train=TrainSettings(
            total_samples=32, batch_size=2, learning_rate=1e-3, warmup_samples=4, ema_halflife=16.0
        ),
    ),
    refiner=RefinerStage(
        in_chain=True,
        log_every=8,
        checkpoint_every=16,
        val_every=16,
        sheet_every=16,
        model=RefinerSettings(
            net=RefinerNetSettings(width=16, blocks=1),
            patch=PatchSettings(size=32, samples=24, occupancy=32),
        ),
        train=TrainSettings(
            total_samples=32, batch_size=2, learning_rate=1e-3, warmup_samples=4, ema_halflife=16.0
        ),
    ),
    prior=PriorStage(
        log_every=16,
        checkpoint_every=32,
        val_every=32,
        model=PriorSettings(latent_dim=16, width=32, blocks=1),
        train=TrainSettings(
            total_samples=64, batch_size=4, learning_rate=1e-3, warmup_samples=8, ema_halflife=16.0
        ),
    ),
    sample=SampleStage(
        count=2,
        portraits=1,
        views=3,
        size=48,
        render_samples=48,
        frames=4,
        shard_size=2,
        generate=GenerateSettings(
            base=SamplerSettings(steps=4), upsampler=SamplerSettings(steps=2)
        ),
    ),
)

# A laptop: real avatars in a quarter of an hour on two cores. The models learn them by heart.
DEMO = RunSettings(
    render=RenderStage(avatars=16, views=32, size=128, samples=8, shard_size=2),
    fit=FitStage(
        subjects=16,
        shard_size=2,
        engine=FitSettings(decoder_steps=600, depth_band=0.15, surface_band=0.06),
    ),
    base=BaseStage(
        log_every=160,
        checkpoint_every=1600,
        val_every=1600,
        sheet_every=1600,
        model=BaseSettings(
            size=32,
            # x0 where the paper has eps: folding 4 x 4 texels makes a small network fast, and too
            # narrow to pass their noise through, which eps and v would ask of it.
            output="x0",
            weight=WeightSettings(kind="velocity"),
            # small networks must spend what they have where it is seen
            sight=0.75,
            schedule=ScheduleSettings(log_snr_start=6.0, log_snr_end=-12.0),
            unet=UNetSettings(
                plane_channels=16,
                width=64,
                multipliers=(1, 2),
                blocks=1,
                patch=4,
                attention_levels=(1,),
                head_channels=32,
                aware_levels=(0,),
                latent_dim=64,
                latent_map=8,
                position_octaves=2,
            ),
            encoder=EncoderSettings(latent_dim=64, width=16, size=64),
        ),
        train=TrainSettings(
            total_samples=6400,
            batch_size=8,
            learning_rate=2e-3,
            beta2=0.99,
            warmup_samples=160,
            decay="cosine",
            ema_halflife=500.0,
        ),
    ),
    upsampler=UpsamplerStage(
        log_every=40,
        checkpoint_every=200,
        val_every=200,
        sheet_every=200,
        model=UpsamplerSettings(
            size=64,
            low_size=32,
            perceptual_weight=0.1,
            unet=UNetSettings(
                plane_channels=16,
                condition_channels=16,
                width=64,
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
            total_samples=1000,
            batch_size=4,
            learning_rate=1e-3,
            beta2=0.99,
            warmup_samples=80,
            decay="cosine",
            ema_halflife=200.0,
        ),
    ),
    refiner=RefinerStage(
        log_every=40,
        checkpoint_every=200,
        val_every=200,
        sheet_every=200,
        model=RefinerSettings(
            net=RefinerNetSettings(width=32, blocks=4),
            patch=PatchSettings(size=64, samples=48, occupancy=24),
            view_size=128,
            perceptual_weight=0.02,
        ),
        train=TrainSettings(
            total_samples=1600,
            batch_size=4,
            learning_rate=1e-3,
            beta2=0.99,
            warmup_samples=80,
            decay="cosine",
            ema_halflife=200.0,
        ),
    ),
    prior=PriorStage(
        log_every=1_600,
        checkpoint_every=8_000,
        val_every=8_000,
        model=PriorSettings(latent_dim=64, width=256, blocks=4),
        train=TrainSettings(
            total_samples=16_000,
            batch_size=64,
            learning_rate=1e-3,
            warmup_samples=2_000,
            decay="cosine",
            ema_halflife=2_000.0,
        ),
    ),
    sample=SampleStage(
        count=8,
        portraits=4,
        generate=GenerateSettings(
            base=SamplerSettings(method="dpm2m", steps=10),
            upsampler=SamplerSettings(steps=6),
            strength=0.1,
        ),
    ),
)

_BUILTIN_SAMPLING = GenerateSettings(
    base=SamplerSettings(steps=2), upsampler=SamplerSettings(steps=1), strength=0.0
)
# The weights that come with the package: as the demo, of many more people.
BUILTIN = dataclasses.replace(
    DEMO,
    render=dataclasses.replace(DEMO.render, avatars=304, views=16, samples=4, shard_size=4),
    fit=dataclasses.replace(
        DEMO.fit,
        subjects=48,
        shard_size=4,
        engine=dataclasses.replace(DEMO.fit.engine, decoder_steps=800, steps=300),
    ),
    base=dataclasses.replace(
        DEMO.base,
        log_every=800,
        checkpoint_every=4_000,
        val_every=8_000,
        sheet_every=8_000,
        mirror=True,
        # Two steps are taken, both in much noise. At this size more of them add blotches of colour:
        # fits differ in ways that cancel between planes, and small networks do not cancel them.
        model=dataclasses.replace(
            DEMO.base.model,
            schedule=ScheduleSettings(log_snr_start=-2.0, log_snr_end=-12.0),
            latent_dropout=0.1,
            # 300 people are too few to train an encoder on (docs/benchmarks.md)
            encoder=EncoderSettings(latent_dim=96, size=32, frozen="eigenfaces"),
            lead=True,
            unet=dataclasses.replace(
                DEMO.base.model.unet, width=48, latent_dim=96, latent_map=0, dropout=0.1
            ),
        ),
        train=dataclasses.replace(DEMO.base.train, total_samples=16_000, ema_halflife=2_000.0),
    ),
    upsampler=dataclasses.replace(
        DEMO.upsampler,
        log_every=400,
        checkpoint_every=4_000,
        val_every=4_000,
        sheet_every=4_000,
        mirror=True,
        # One step is taken, in nothing but noise, and all training is for that step. Errors are
        # those of planes: rendered patches taught it less (docs/benchmarks.md). Narrower, so that
        # all weights together stay below 30 MB.
        model=dataclasses.replace(
            DEMO.upsampler.model,
            schedule=ScheduleSettings(log_snr_start=-10.0, log_snr_end=-14.0),
            from_base=1.0,
            augment=AugmentSettings(noise=0.0, blur_probability=0.0, shrink=0.0),
            sight=0.75,
            patch_weight=0.0,
            perceptual_weight=0.0,
            unet=dataclasses.replace(DEMO.upsampler.model.unet, width=48),
        ),
        train=dataclasses.replace(
            DEMO.upsampler.train,
            total_samples=20_000,
            batch_size=8,
            learning_rate=2e-3,
            ema_halflife=800.0,
        ),
    ),
    prior=dataclasses.replace(
        DEMO.prior,
        mirror=True,
        # some 120 epochs: more, and people are learned by heart (docs/benchmarks.md)
        model=dataclasses.replace(DEMO.prior.model, latent_dim=96),
        train=dataclasses.replace(DEMO.prior.train, total_samples=64_000, ema_halflife=4_000.0),
    ),
    refiner=dataclasses.replace(
        DEMO.refiner,
        in_chain=True,
        log_every=200,
        checkpoint_every=2_000,
        val_every=2_000,
        sheet_every=2_000,
        mirror=True,
        # Avatars are soft and people are not: it learns from avatars of people's portraits, beside
        # larger views of fewer people than the planes were fitted to (docs/model_card.md).
        generated=True,
        sampling=_BUILTIN_SAMPLING,
        views="large/views",
        model=RefinerSettings(
            net=RefinerNetSettings(factor=4, width=48, blocks=6),
            patch=PatchSettings(size=128, samples=64, occupancy=24),
            view_size=256,
            perceptual_weight=0.2,
            adversarial_weight=0.1,
        ),
        train=dataclasses.replace(
            DEMO.refiner.train,
            total_samples=12_000,
            learning_rate=2e-3,
            warmup_samples=400,
            ema_halflife=400.0,
        ),
    ),
    sample=dataclasses.replace(DEMO.sample, size=256, generate=_BUILTIN_SAMPLING),
)

PRESETS = {
    "tiny": TINY,
    "demo": DEMO,
    "builtin": BUILTIN,
    "ablation": ABLATION,
    "single-gpu": SINGLE_GPU,
    "paper": PAPER,
}
