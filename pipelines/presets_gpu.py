"""Presets for GPUs: one of them, and the published scale."""

from __future__ import annotations

from pipelines.settings import (
    BaseStage,
    FitStage,
    PriorStage,
    RefinerStage,
    RenderStage,
    Resources,
    RunSettings,
    SampleStage,
    UpsamplerStage,
)
from rodin.decoder import DecoderConfig
from rodin.diffusion.base import BaseSettings
from rodin.diffusion.upsampler import PatchSettings, UpsamplerSettings
from rodin.fit import FitSettings
from rodin.nn.refiner import RefinerNetSettings
from rodin.nn.unet import UNetSettings
from rodin.prior import PriorSettings
from rodin.refiner import RefinerSettings
from rodin.training import TrainSettings

# One 24-80 GB GPU: a thousand avatars at 256 px. Its times are not measured yet.
SINGLE_GPU = RunSettings(
    render=RenderStage(
        avatars=1000, views=100, size=256, samples=16, labels=True, landmarks=True, shard_size=10
    ),
    fit=FitStage(
        subjects=64,
        batch=8,
        shard_size=20,
        engine=FitSettings(
            resolution=128,
            base_resolution=64,
            steps=2000,
            decoder_steps=20_000,
            rays_per_step=8192,
            samples_per_ray=16,
            held_out=8,
        ),
    ),
    base=BaseStage(
        log_every=3200,
        checkpoint_every=64_000,
        val_every=64_000,
        sheet_every=64_000,
        snapshot_every=160_000,
        model=BaseSettings(
            size=64,
            unet=UNetSettings(
                plane_channels=16, width=128, multipliers=(1, 2, 3), attention_levels=(1, 2)
            ),
        ),
        train=TrainSettings(
            total_samples=3_200_000,
            batch_size=32,
            learning_rate=1e-4,
            warmup_samples=32_000,
            ema_widths=(0.05, 0.1),
        ),
    ),
    upsampler=UpsamplerStage(
        log_every=1600,
        checkpoint_every=32_000,
        val_every=32_000,
        sheet_every=32_000,
        model=UpsamplerSettings(
            size=128,
            low_size=64,
            unet=UNetSettings(
                plane_channels=16,
                condition_channels=16,
                width=96,
                multipliers=(1, 2, 2),
                attention_levels=(),
                aware_levels=(0, 1, 2),
                latent_dim=0,
                strength_input=True,
            ),
        ),
        train=TrainSettings(
            total_samples=800_000, batch_size=16, learning_rate=1e-4, warmup_samples=16_000
        ),
    ),
    refiner=RefinerStage(
        in_chain=True,
        log_every=1600,
        checkpoint_every=32_000,
        val_every=32_000,
        sheet_every=32_000,
        train=TrainSettings(
            total_samples=400_000, batch_size=16, learning_rate=2e-4, warmup_samples=16_000
        ),
    ),
    sample=SampleStage(count=16, portraits=16, size=256),
    prior=PriorStage(
        model=PriorSettings(latent_dim=512),
        # some 200 epochs; more, and a prior of so few people knows them by heart
        train=TrainSettings(
            total_samples=200_000, batch_size=64, learning_rate=3e-4, warmup_samples=6_400
        ),
    ),
    resources=Resources(gpus_per_fit=1.0, workers=1, cpus_per_worker=4.0, train_on_gpu=True),
)

# The published scale (arXiv 2212.06135), models at the defaults of the library. Never run whole.
PAPER = RunSettings(
    render=RenderStage(
        avatars=100_000,
        views=300,
        size=1024,
        samples=32,
        labels=True,
        landmarks=True,
        shard_size=10,
    ),
    fit=FitStage(
        subjects=500,
        batch=8,
        shard_size=50,
        engine=FitSettings(
            decoder=DecoderConfig(channels=32, hidden=128),
            resolution=256,
            base_resolution=64,
            held_out=12,
            steps=25_000,
            decoder_steps=200_000,
            subjects_per_step=16,
            rays_per_step=8192,
            samples_per_ray=32,
            occupancy_size=192,
            render_samples=256,
        ),
    ),
    base=BaseStage(
        log_every=4_800,
        checkpoint_every=240_000,
        val_every=240_000,
        sheet_every=240_000,
        snapshot_every=240_000,
        train=TrainSettings(ema_widths=(0.05, 0.1)),
    ),
    upsampler=UpsamplerStage(
        log_every=4_800, checkpoint_every=240_000, val_every=240_000, sheet_every=240_000
    ),
    refiner=RefinerStage(
        in_chain=True,
        log_every=4_800,
        checkpoint_every=240_000,
        val_every=240_000,
        sheet_every=240_000,
        model=RefinerSettings(
            net=RefinerNetSettings(factor=4, blocks=16),
            patch=PatchSettings(size=256, samples=128),
            view_size=1024,
            adversarial_weight=0.1,
        ),
    ),
    prior=PriorStage(
        log_every=51_200,
        checkpoint_every=512_000,
        val_every=512_000,
        model=PriorSettings(width=1024),
        train=TrainSettings(
            total_samples=10_240_000, batch_size=512, learning_rate=3e-4, warmup_samples=102_400
        ),
    ),
    sample=SampleStage(count=64, portraits=64, size=512, render_samples=256),
    resources=Resources(
        gpus_per_fit=1.0, workers=64, cpus_per_worker=4.0, train_workers=16, train_on_gpu=True
    ),
)
