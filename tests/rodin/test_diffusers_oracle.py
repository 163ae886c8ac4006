"""Samplers, clipping and conversions against the schedulers of `diffusers`, step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rodin.diffusion.sampling import Denoiser, Noise, Prediction, SamplerSettings, clipped, sample
from rodin.diffusion.schedule import Schedule, ScheduleSettings
from rodin.diffusion.targets import target, to_clean

diffusers = pytest.importorskip("diffusers")

SHAPE = (3, 2, 4, 4)
TRAIN = 60  # discrete steps of the oracle
SCHEDULES = [
    ScheduleSettings(log_snr_start=8.0, log_snr_end=-8.0),
    ScheduleSettings(kind="cosine", shift=-1.0),
    ScheduleSettings(log_snr_start=1.7, log_snr_end=-10.0),
]


def betas(schedule: Schedule) -> Tensor:
    """The oracle's betas: its step i is at t = (i + 1) / TRAIN, and before step 0 is no noise."""
    t = torch.arange(1, TRAIN + 1, dtype=torch.float64) / TRAIN
    kept = torch.sigmoid(schedule.log_snr(t))
    return 1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])


def network(noisy: Tensor, t: Tensor) -> Tensor:
    """Any smooth function of planes and time serves as the clean planes."""
    return torch.tanh(0.7 * noisy + t.float().view(-1, 1, 1, 1, 1) - 0.5)


def ours(schedule: Schedule, settings: SamplerSettings, variance: float | None) -> Tensor:
    def denoise(noisy: Tensor, t: Tensor) -> Prediction:
        clean = network(noisy, t)
        return Prediction(clean, None if variance is None else torch.full_like(clean, variance))

    denoiser: Denoiser = denoise
    return sample(denoiser, schedule, SHAPE, Noise([5]), settings)


def theirs(scheduler: object, steps: int, variance: float | None = None, **more: object) -> Tensor:
    """The same trajectory by a scheduler of diffusers, from the same noise at each step."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn((1, *SHAPE), generator=generator)
    for i in scheduler.timesteps:
        clean = network(noisy, (i + 1).double()[None] / TRAIN)
        if variance is not None:  # it maps -1 .. 1 to the share of the way, and splits axis 1
            clean = torch.cat([clean, torch.full_like(clean, 2 * variance - 1)], 1)
        if "generator" in more:
            more["generator"] = generator
        noisy = scheduler.step(clean, i, noisy, **more).prev_sample
    return noisy


@pytest.mark.parametrize("settings", SCHEDULES)
@pytest.mark.parametrize("variance", [None, 0.3])
def test_ddpm(settings: ScheduleSettings, variance: float | None) -> None:
    schedule = Schedule(settings)
    oracle = diffusers.DDPMScheduler(
        TRAIN,
        trained_betas=betas(schedule).numpy(),
        prediction_type="sample",
        clip_sample=False,
        variance_type="fixed_small" if variance is None else "learned_range",
    )
    found = ours(schedule, SamplerSettings(method="ddpm", steps=TRAIN), variance)
    assert torch.allclose(found, theirs(oracle, TRAIN, variance, generator=None), atol=1e-4)


@pytest.mark.parametrize("settings", SCHEDULES)
@pytest.mark.parametrize(("steps", "eta"), [(TRAIN, 0.0), (12, 0.0), (20, 0.6)])
def test_ddim(settings: ScheduleSettings, steps: int, eta: float) -> None:
    schedule = Schedule(settings)
    oracle = diffusers.DDIMScheduler(
        TRAIN,
        trained_betas=betas(schedule).numpy(),
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    found = ours(schedule, SamplerSettings(method="ddim", steps=steps, eta=eta), None)
    assert torch.allclose(found, theirs(oracle, steps, eta=eta, generator=None), atol=1e-4)


@pytest.mark.parametrize("settings", SCHEDULES)
@pytest.mark.parametrize("steps", [6, 20])
def test_dpm_solver(settings: ScheduleSettings, steps: int) -> None:
    schedule = Schedule(settings)
    oracle = diffusers.DPMSolverMultistepScheduler(
        TRAIN,
        trained_betas=betas(schedule).numpy(),
        prediction_type="sample",
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    found = ours(schedule, SamplerSettings(method="dpm2m", steps=steps), None)
    assert torch.allclose(found, theirs(oracle, steps), atol=1e-4)


def test_the_oracle_tells_samplers_apart() -> None:
    """The comparisons above can fail: another method, or another schedule, is far off."""
    schedule = Schedule(SCHEDULES[0])
    first = ours(schedule, SamplerSettings(method="ddim", steps=6), None)
    for other in (
        ours(schedule, SamplerSettings(method="dpm2m", steps=6), None),
        ours(Schedule(SCHEDULES[1]), SamplerSettings(method="ddim", steps=6), None),
    ):
        assert (first - other).abs().max() > 1e-2


def test_noise_and_velocity() -> None:
    schedule = Schedule(SCHEDULES[0])
    oracle = diffusers.DDPMScheduler(TRAIN, trained_betas=betas(schedule).numpy())
    clean, noise = torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind(0)
    steps = torch.tensor([0, 7, 30, TRAIN - 1])
    t = (steps + 1).double() / TRAIN
    noisy = schedule.add_noise(clean, noise, t)
    assert torch.allclose(noisy, oracle.add_noise(clean, noise, steps), atol=1e-4)
    velocity = target(schedule, clean, noise, t, "v")
    assert torch.allclose(velocity, oracle.get_velocity(clean, noise, steps), atol=1e-4)
    for output in ("eps", "v", "x0"):
        true = target(schedule, clean, noise, t, output)
        assert torch.allclose(to_clean(schedule, noisy, true, t, output), clean, atol=1e-3)


def test_dynamic_clipping_is_dynamic_thresholding_of_each_channel() -> None:
    oracle = diffusers.DDPMScheduler(
        TRAIN, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1e9
    )
    clean = 3 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    clean[0, 0, 0] *= 0.01  # a channel within the limit stays as it is
    found = clipped(clean, SamplerSettings(clip=1.0, clip_quantile=0.9))
    expected = oracle._threshold_sample(clean.flatten(0, 2)[:, None])[:, 0].view(clean.shape)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(found[0, 0, 0], clean[0, 0, 0])
    wide = clipped(clean, SamplerSettings(clip=2.5, clip_quantile=0.9))
    assert wide.abs().max() == pytest.approx(2.5)
