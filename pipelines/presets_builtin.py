"""The preset of the weights that come with the package: as the demo, of many more people."""

from __future__ import annotations

import dataclasses

from pipelines.presets_small import DEMO
from rodin.diffusion.augment import AugmentSettings
from rodin.diffusion.sampling import SamplerSettings
from rodin.diffusion.schedule import ScheduleSettings
from rodin.diffusion.upsampler import PatchSettings
from rodin.generate import GenerateSettings
from rodin.nn.encoder import EncoderSettings
from rodin.nn.refiner import RefinerNetSettings
from rodin.refiner import RefinerSettings

_SAMPLING = GenerateSettings(
    base=SamplerSettings(steps=2), upsampler=SamplerSettings(steps=1), strength=0.0
)
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
        log_every=6_400,
        checkpoint_every=64_000,
        val_every=32_000,
        mirror=True,
        # Some hundred epochs: more, and people are learned by heart (docs/benchmarks.md). Who has
        # no planes is as good here, and some ten times as fast to make.
        views="portraits/views",
        model=dataclasses.replace(DEMO.prior.model, latent_dim=96),
        train=dataclasses.replace(
            DEMO.prior.train, total_samples=256_000, batch_size=128, ema_halflife=8_000.0
        ),
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
        sampling=_SAMPLING,
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
    sample=dataclasses.replace(DEMO.sample, size=256, generate=_SAMPLING),
)
