"""Schedules and samplers, on a target whose optimal denoiser is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rodin.diffusion.sampling import Noise, Prediction, SamplerSettings, guided, sample
from rodin.diffusion.schedule import Schedule, ScheduleSettings, resolution_shift
from rodin.diffusion.targets import WeightSettings

SCHEDULES = [
    ScheduleSettings(),
    ScheduleSettings(shift=-2.0),
    ScheduleSettings(kind="cosine"),
    ScheduleSettings(kind="cosine", shift=resolution_shift(128)),
    ScheduleSettings(log_snr_start=1.7, log_snr_end=-14.0),
]
SHAPE = (3, 2, 4, 4)


@pytest.mark.parametrize("settings", SCHEDULES)
def test_schedule_identities(settings: ScheduleSettings) -> None:
    schedule = Schedule(settings)
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    alpha, sigma = schedule.alpha_sigma(t)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(101), atol=1e-6)
    log_snr = schedule.log_snr(t)
    assert (log_snr.diff() < 0).all(), "noise must grow"
    assert log_snr[0] == pytest.approx(settings.log_snr_start + settings.shift)
    assert log_snr[-1] == pytest.approx(settings.log_snr_end + settings.shift)
    assert torch.allclose((alpha**2 / sigma**2).log().double(), log_snr, atol=1e-2)


def test_cosine_is_cosine_and_linear_is_linear() -> None:
    wide = {"log_snr_start": 40.0, "log_snr_end": -40.0}
    t = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    alpha, _ = Schedule(ScheduleSettings(kind="cosine", **wide)).alpha_sigma(t)
    assert torch.allclose(alpha, torch.cos(torch.pi / 2 * t).float(), atol=1e-6)
    middle = Schedule(ScheduleSettings()).log_snr(torch.tensor([0.5]))
    assert middle.item() == pytest.approx(0)


@pytest.mark.parametrize("settings", SCHEDULES)
def test_posterior_composes_to_the_marginal(settings: ScheduleSettings) -> None:
    """Drawing y_t, then y_s given it and y_0, has the mean and variance of drawing y_s at once."""
    schedule = Schedule(settings)
    s, t = torch.tensor([0.4]), torch.tensor([0.43])
    q = schedule.posterior(s, t, 1)
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule.alpha_sigma(s), schedule.alpha_sigma(t)
    assert torch.allclose(q.of_clean + q.of_noisy * alpha_t, alpha_s, atol=1e-5)
    variance = (q.of_noisy * sigma_t) ** 2 + q.log_variance.exp()
    assert torch.allclose(variance, sigma_s**2, atol=1e-5)
    assert q.log_variance_max > q.log_variance


def test_shift_by_size_keeps_the_signal_of_coarse_planes() -> None:
    """Averaging k x k texels divides the variance of noise by k^2: the shift gives it back."""
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    fine = Schedule(ScheduleSettings(like_size=64), size=256).log_snr(t)
    coarse = Schedule(ScheduleSettings(like_size=64), size=64).log_snr(t)
    assert torch.allclose(fine.exp() * 4**2, coarse.exp())
    assert torch.equal(coarse, Schedule(ScheduleSettings()).log_snr(t))
    with pytest.raises(ValueError, match="like_size"):
        ScheduleSettings(like_size=-1)


def test_weights_are_one_loss_on_three_scales() -> None:
    """weight * error is the same for eps, x0 and v, whatever the weighting."""
    log_snr = torch.linspace(-12, 12, 25, dtype=torch.float64)
    snr = log_snr.exp()
    for kind in ("velocity", "min_snr", "sigmoid"):
        weight = WeightSettings(kind=kind, bias=-1.0)
        of_x0 = weight(log_snr, "x0").double()
        assert torch.allclose(weight(log_snr, "eps").double() * snr, of_x0, rtol=1e-5)
        assert torch.allclose(weight(log_snr, "v").double() * (1 + snr), of_x0, rtol=1e-5)
    assert torch.allclose(
        WeightSettings(kind="min_snr")(log_snr, "eps").double(), (5 / snr).clamp_max(1), rtol=1e-5
    )
    sigmoid = WeightSettings(kind="sigmoid", bias=-1.0)(log_snr, "eps").double()
    assert torch.allclose(sigmoid, torch.sigmoid(-1 - log_snr), rtol=1e-5)
    velocity = WeightSettings(kind="velocity", limit=1e9)
    assert torch.allclose(velocity(log_snr, "v"), torch.ones(25))
    assert torch.equal(WeightSettings()(log_snr, "x0"), torch.ones(25))
    with pytest.raises(ValueError, match=r"weight\.kind"):
        WeightSettings(kind="loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weight\.limit"):
        WeightSettings(limit=0)


def test_schedule_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="log_snr_end"):
        ScheduleSettings(log_snr_start=-1, log_snr_end=1)
    with pytest.raises(ValueError, match="kind"):
        ScheduleSettings(kind="quadratic")  # type: ignore[arg-type]


def gaussian_denoiser(schedule: Schedule, mean: float, std: float):
    """E[y_0 | y_t] for y_0 ~ N(mean, std^2): what a perfect network would say."""

    def denoise(noisy: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha_sigma(t, noisy.ndim)
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return Prediction(mean + gain * (noisy - alpha * mean))

    return denoise


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize(
    "settings",
    [
        SamplerSettings(method="ddpm", steps=200),
        SamplerSettings(method="ddim", steps=100),
        SamplerSettings(method="ddim", steps=200, eta=1.0),
        SamplerSettings(method="ddim", steps=150, eta=0.5),
        SamplerSettings(method="dpm2m", steps=30),
    ],
)
def test_samplers_reach_the_target(settings: SamplerSettings, kind: str) -> None:
    schedule = Schedule(ScheduleSettings(kind=kind, log_snr_start=9.0, log_snr_end=-12.0))
    out = sample(
        gaussian_denoiser(schedule, 1.5, 0.6), schedule, (3, 8, 8, 8), Noise(range(24)), settings
    )
    assert out.mean().item() == pytest.approx(1.5, abs=0.03)
    assert out.std().item() == pytest.approx(0.6, rel=0.05)


def test_ddim_with_full_noise_is_ddpm() -> None:
    schedule = Schedule(ScheduleSettings())
    denoise = gaussian_denoiser(schedule, 0.5, 0.8)
    a, b = (
        sample(denoise, schedule, SHAPE, Noise([3, 4]), settings)
        for settings in (
            SamplerSettings(method="ddpm", steps=20),
            SamplerSettings(method="ddim", steps=20, eta=1.0),
        )
    )
    assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("method", ["ddpm", "ddim", "dpm2m"])
def test_sample_depends_on_its_seed_alone(method: str) -> None:
    schedule = Schedule(ScheduleSettings())
    denoise = gaussian_denoiser(schedule, 0.0, 1.0)
    settings = SamplerSettings(method=method, steps=5, eta=0.5)
    many = sample(denoise, schedule, SHAPE, Noise([0, 7, 9]), settings)
    alone = sample(denoise, schedule, SHAPE, Noise([7]), settings)
    assert torch.equal(many[1], alone[0])
    assert not torch.allclose(many[0], many[1])
    assert torch.equal(many, sample(denoise, schedule, SHAPE, Noise([0, 7, 9]), settings))


def test_learned_variance_of_zero_is_the_posterior_and_one_is_more() -> None:
    schedule = Schedule(ScheduleSettings())
    plain = gaussian_denoiser(schedule, 0.0, 1.0)

    def with_variance(value: float):
        def denoise(noisy: Tensor, t: Tensor) -> Prediction:
            return plain(noisy, t)._replace(variance=torch.full_like(noisy, value))

        return denoise

    settings = SamplerSettings(method="ddpm", steps=6)
    outs = [
        sample(denoiser, schedule, SHAPE, Noise([1]), settings)
        for denoiser in (plain, with_variance(0.0), with_variance(1.0))
    ]
    assert torch.equal(outs[0], outs[1])
    assert not torch.allclose(outs[0], outs[2])


def test_guidance() -> None:
    schedule = Schedule(ScheduleSettings())
    one, none = gaussian_denoiser(schedule, 1.0, 0.5), gaussian_denoiser(schedule, 0.0, 0.5)
    assert guided(one, none, 1.0) is one
    noisy, t = torch.randn(2, *SHAPE), torch.tensor([0.4, 0.6])
    alpha, sigma = schedule.alpha_sigma(t, noisy.ndim)

    def eps(clean: Tensor) -> Tensor:
        return (noisy - alpha * clean) / sigma

    mixed = 3 * eps(one(noisy, t).clean) - 2 * eps(none(noisy, t).clean)
    assert torch.allclose(eps(guided(one, none, 3.0)(noisy, t).clean), mixed, atol=1e-4)
    assert torch.allclose(guided(one, none, 0.0)(noisy, t).clean, none(noisy, t).clean)


def test_guidance_acts_in_its_interval_alone() -> None:
    schedule = Schedule(ScheduleSettings())
    calls: list[float] = []

    def without(noisy: Tensor, t: Tensor) -> Prediction:
        calls.append(float(t[0]))
        return gaussian_denoiser(schedule, 0.0, 0.5)(noisy, t)

    one = gaussian_denoiser(schedule, 1.0, 0.5)
    some = guided(one, without, 3.0, (0.3, 0.7))
    noisy = torch.randn(3, *SHAPE)
    t = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    clean, always = some(noisy, t).clean, guided(one, without, 3.0)(noisy, t).clean
    plain = one(noisy, t).clean
    assert torch.equal(clean[1], always[1]) and not torch.allclose(always[0], plain[0])
    assert torch.equal(clean[[0, 2]], plain[[0, 2]])
    calls.clear()
    sample(some, schedule, SHAPE, Noise([0]), SamplerSettings(steps=10))
    assert min(calls) >= 0.3 and max(calls) <= 0.7 and len(calls) == 5, "no call outside"
    with pytest.raises(ValueError, match="guidance_interval"):
        SamplerSettings(guidance_interval=(0.7, 0.3))


def test_clipping_and_progress() -> None:
    schedule = Schedule(ScheduleSettings())
    seen: list[tuple[int, int]] = []
    out = sample(
        gaussian_denoiser(schedule, 4.0, 0.5),
        schedule,
        SHAPE,
        Noise([0]),
        SamplerSettings(steps=4, clip=1.25),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert out.abs().max() <= 1.25
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "euler"}, "method"),
        ({"steps": 0}, "steps"),
        ({"eta": 2.0}, "eta"),
        ({"guidance": -1.0}, "guidance"),
        ({"clip": 0.0}, "clip"),
        ({"clip_quantile": 0.9}, "set clip too"),
        ({"clip": 1.0, "clip_quantile": 1.0}, "clip_quantile"),
    ],
)
def test_sampler_settings_are_checked(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SamplerSettings(**change)


def test_no_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="seed"):
        Noise([])
