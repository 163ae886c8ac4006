"""Samplers: ancestral DDPM (the reference), DDIM, and a second-order solver.

Legend: B samples, y_t noisy planes (B, 3, C, S, S), t times (B,), s < t the next time.

A sampler asks a denoiser for the clean planes; guidance and clipping act on these. Sample i takes
its noise from its own generator, on the CPU, so that it depends neither on the batch nor on the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rodin.diffusion.schedule import Schedule


class Prediction(NamedTuple):
    """What a denoiser says of noisy planes."""

    clean: Tensor  # y_0, shaped as the input
    variance: Tensor | None = None  # share in [0, 1] of the way from the least to the most variance


Denoiser = Callable[[Tensor, Tensor], Prediction]  # (y_t, t (B,)) -> Prediction
Progress = Callable[[int, int], None]  # (steps done, steps in all)


@dataclass(frozen=True)
class SamplerSettings:
    """How to draw samples."""

    method: Literal["ddpm", "ddim", "dpm2m"] = "ddim"  # ancestral; DDIM; second-order multistep
    steps: int = 50  # evaluations of the network (twice as many with guidance)
    eta: float = 0.0  # noise of DDIM: 0 = none (an ODE), 1 = as much as DDPM
    guidance: float = 1.0  # scale of the condition: 1 = as trained, 0 = unconditional
    guidance_interval: tuple[float, float] = (0.0, 1.0)  # times in [0, 1] at which guidance acts
    clip: float | None = None  # clean planes kept within this many deviations; None = free
    # dynamic clipping: a plane's channel is cut at this quantile of its own |values| and brought
    # back to `clip` where that quantile lies beyond it; 0 = plain clipping
    clip_quantile: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in {"ddpm", "ddim", "dpm2m"}:
            raise ValueError(f"sampler.method is {self.method!r}; use 'ddpm', 'ddim' or 'dpm2m'")
        if self.steps < 1:
            raise ValueError(f"sampler.steps is {self.steps}; it must be at least 1")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta is {self.eta}; it must lie in [0, 1]")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ValueError(f"sampler.guidance is {self.guidance}; it must be a number >= 0")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"sampler.clip is {self.clip}; give a number > 0, or None")
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"sampler.guidance_interval is {self.guidance_interval}; give two times in [0, 1], "
                "the smaller first"
            )
        if not 0 <= self.clip_quantile < 1:
            raise ValueError(f"sampler.clip_quantile is {self.clip_quantile}; it lies in [0, 1)")
        if self.clip_quantile and self.clip is None:
            raise ValueError(
                f"sampler.clip_quantile is {self.clip_quantile} but clip is None; set clip too"
            )


class Noise:
    """Standard normal noise with one generator a sample, on the CPU: seeds (B,) -> (B, *shape)."""

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        if len(seeds) == 0:
            raise ValueError("sampling got no seeds; give one seed per sample")
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.generators)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        rows = [torch.randn(tuple(shape), generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)


def guided(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """Classifier-free guidance (Rodin, section 4.2): eps = s eps(y, z) + (1 - s) eps(y, 0).

    For one y_t the clean planes are affine in eps, so the same mix of clean planes is the same
    guidance. The variance is the conditional one. A scale of 1 is the conditional denoiser itself.
    At times outside `interval` the scale is 1, at no cost (arXiv 2404.07724): early, guidance
    narrows what is drawn; late, it changes nothing.
    """
    if scale == 1.0:
        return conditional

    def denoise(noisy: Tensor, t: Tensor) -> Prediction:
        acts = (t >= interval[0]) & (t <= interval[1])
        if not bool(acts.any()):
            return conditional(noisy, t)
        without = unconditional(noisy, t)
        if scale == 0.0 and bool(acts.all()):
            return without
        found = conditional(noisy, t)
        s = torch.where(acts, scale, 1.0).to(noisy.dtype).view(-1, *[1] * (noisy.ndim - 1))
        return found._replace(clean=s * found.clean + (1 - s) * without.clean)

    return denoise


def clipped(clean: Tensor, settings: SamplerSettings) -> Tensor:
    """Clean planes (B, 3, C, S, S) within the settings' limit, plainly or dynamically.

    Dynamic (Imagen, arXiv 2205.11487, section 2.3, for each channel of a plane in place of an
    image): values beyond the quantile are cut there, and all are scaled so that it is `clip`.
    """
    limit = settings.clip
    if limit is None:
        return clean
    if not settings.clip_quantile:
        return clean.clamp(-limit, limit)
    reach = clean.flatten(-2).abs().quantile(settings.clip_quantile, -1).clamp_min(limit)
    reach = reach[..., None, None]
    return clean.clamp(-reach, reach) * (limit / reach)


class _Ddpm:
    """y_s ~ q(y_s | y_t, y_0) (DDPM, algorithm 2), log-variance mixed by Improved DDPM, eq. 15."""

    def __init__(self, schedule: Schedule, noise: Noise, settings: SamplerSettings) -> None:
        self.schedule, self.noise = schedule, noise

    def __call__(self, noisy: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        q = self.schedule.posterior(s, t, noisy.ndim)
        log_variance = q.log_variance
        if prediction.variance is not None:
            v = prediction.variance
            log_variance = v * q.log_variance_max + (1 - v) * q.log_variance
        mean = q.of_clean * prediction.clean + q.of_noisy * noisy
        return mean + (0.5 * log_variance).exp() * self.noise(noisy.shape[1:])


class _Ddim:
    """DDIM, equation 12: y_s = alpha_s y_0 + sqrt(sigma_s^2 - w^2) eps + w n, w = eta * DDPM's."""

    def __init__(self, schedule: Schedule, noise: Noise, settings: SamplerSettings) -> None:
        self.schedule, self.noise, self.eta = schedule, noise, settings.eta

    def __call__(self, noisy: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        alpha_t, sigma_t = self.schedule.alpha_sigma(t, noisy.ndim)
        alpha_s, sigma_s = self.schedule.alpha_sigma(s, noisy.ndim)
        eps = (noisy - alpha_t * prediction.clean) / sigma_t
        if self.eta == 0:
            return alpha_s * prediction.clean + sigma_s * eps
        w = self.eta * (0.5 * self.schedule.posterior(s, t, noisy.ndim).log_variance).exp()
        kept = (sigma_s**2 - w**2).clamp_min(0).sqrt()
        return alpha_s * prediction.clean + kept * eps + w * self.noise(noisy.shape[1:])


class _Dpm2m:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): extrapolates from the last clean planes.

    With h = lambda_s - lambda_t and r = previous h / h: D = (1 + 1 / 2r) y_0 - 1 / 2r previous y_0,
    y_s = sigma_s / sigma_t y_t - alpha_s (exp(-h) - 1) D.
    """

    def __init__(self, schedule: Schedule, noise: Noise, settings: SamplerSettings) -> None:
        self.schedule = schedule
        self.previous: tuple[Tensor, float] | None = None

    def __call__(self, noisy: Tensor, prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        alpha_s, sigma_s = self.schedule.alpha_sigma(s, noisy.ndim)
        _, sigma_t = self.schedule.alpha_sigma(t, noisy.ndim)
        h = float((self.schedule.log_snr(s) - self.schedule.log_snr(t))[0]) / 2
        estimate = prediction.clean
        if self.previous is not None:
            half = h / (2 * self.previous[1])
            estimate = (1 + half) * estimate - half * self.previous[0]
        self.previous = (prediction.clean, h)
        return sigma_s / sigma_t * noisy - alpha_s * math.expm1(-h) * estimate


_Step = Callable[[Tensor, Prediction, Tensor, Tensor], Tensor]
_STEPS: dict[str, Callable[[Schedule, Noise, SamplerSettings], _Step]] = {
    "ddpm": _Ddpm,
    "ddim": _Ddim,
    "dpm2m": _Dpm2m,
}


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    schedule: Schedule,
    shape: Sequence[int],
    noise: Noise,
    settings: SamplerSettings,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """Draw len(noise) samples of `shape` (3, C, S, S) from pure noise -> (B, 3, C, S, S).

    Guidance is not applied here: give a denoiser made by `guided`. Times fall evenly from 1 to 0;
    the last step returns the clean planes.
    """
    step = _STEPS[settings.method](schedule, noise, settings)
    noisy = noise(shape)
    times = torch.linspace(1, 0, settings.steps + 1, dtype=torch.float64).tolist()
    for i, (now, following) in enumerate(pairwise(times)):
        t = torch.full((len(noise),), now, dtype=torch.float64, device=noisy.device)
        s = torch.full_like(t, following)
        prediction = denoiser(noisy, t)
        prediction = prediction._replace(clean=clipped(prediction.clean, settings))
        last = i == settings.steps - 1
        noisy = prediction.clean if last else step(noisy, prediction, t, s)
        if progress is not None:
            progress(i + 1, settings.steps)
    return noisy
