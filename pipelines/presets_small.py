"""Presets for two cores: a test of every stage, and the demo."""

from __future__ import annotations

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
from rodin.decoder import DecoderConfig
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
