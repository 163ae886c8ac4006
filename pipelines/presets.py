"""The named starting points of a run. Every number can be overridden on the command line."""

from __future__ import annotations

from pipelines.settings import (
    BaseStage,
    FitStage,
    RefinerStage,
    RenderStage,
    Resources,
    RunSettings,
    SampleStage,
    UpsamplerStage,
)
from pipelines.variants import ABLATION
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
    sample=SampleStage(
        count=8,
        portraits=4,
        generate=GenerateSettings(
            base=SamplerSettings(steps=25), upsampler=SamplerSettings(steps=6), strength=0.1
        ),
    ),
)

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
            adversarial_weight=0.01,
        ),
    ),
    sample=SampleStage(count=64, portraits=64, size=512, render_samples=256),
    resources=Resources(
        gpus_per_fit=1.0, workers=64, cpus_per_worker=4.0, train_workers=16, train_on_gpu=True
    ),
)

PRESETS = {
    "tiny": TINY,
    "demo": DEMO,
    "ablation": ABLATION,
    "single-gpu": SINGLE_GPU,
    "paper": PAPER,
}
