"""Noise schedules in log-SNR (Rodin, arXiv 2212.06135, section 4.2; log-SNR linear in t).

y_t = alpha_t y_0 + sigma_t eps, variance preserving: with lambda_t = log(alpha_t^2 / sigma_t^2),
alpha_t^2 = sigmoid(lambda_t) and sigma_t^2 = sigmoid(-lambda_t); t runs from 0, clean, to 1, noise.

Large, redundant planes hide little under a given noise: halving the size of a plane doubles the
noise per feature that is needed to destroy as much, which is `shift` = 2 log(base size / size).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScheduleSettings:
    """How fast the noise grows."""

    kind: Literal["linear", "cosine"] = "linear"  # linear: log-SNR linear in t; cosine: alpha = cos
    log_snr_start: float = 10.0  # largest log-SNR, at t = 0, before the shift
    log_snr_end: float = -10.0  # smallest log-SNR, at t = 1, before the shift
    shift: float = 0.0  # added to the log-SNR; negative = more noise
    like_size: int = 0  # texels of the planes whose look to keep: adds resolution_shift; 0 = none

    def __post_init__(self) -> None:
        if self.kind not in {"linear", "cosine"}:
            raise ValueError(f"schedule.kind is {self.kind!r}; use 'linear' or 'cosine'")
        if not self.log_snr_end < self.log_snr_start:
            raise ValueError(
                f"schedule.log_snr_end is {self.log_snr_end}; it must lie below "
                f"log_snr_start = {self.log_snr_start}"
            )
        if self.like_size < 0:
            raise ValueError(f"schedule.like_size is {self.like_size}; give texels, or 0 for none")


class Posterior(NamedTuple):
    """q(y_s | y_t, y_0) = N(of_clean y_0 + of_noisy y_t, exp(log_variance)), (B, 1, ...)."""

    of_clean: Tensor
    of_noisy: Tensor
    log_variance: Tensor  # the posterior's own: the lower bound for the reverse step
    log_variance_max: Tensor  # that of q(y_t | y_s): the upper bound (DDPM, section 3.2)


class Schedule:
    """The functions of t that training and sampling use; t is a tensor of times in [0, 1]."""

    def __init__(self, settings: ScheduleSettings, size: int = 0) -> None:
        """`size` of the planes in texels: what `like_size` shifts from; 0 = not shifted."""
        self.settings = settings
        self.shift = settings.shift
        if settings.like_size and size:
            self.shift += resolution_shift(size, settings.like_size)

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda(t), float64: falls from log_snr_start to log_snr_end, plus the shifts.

        cosine (Improved DDPM, in log-SNR): -2 log tan(pi t / 2), cut to the two ends.
        """
        s = self.settings
        t = t.double()
        if s.kind == "linear":
            value = s.log_snr_start + (s.log_snr_end - s.log_snr_start) * t
        else:
            first, last = (
                math.atan(math.exp(-end / 2)) for end in (s.log_snr_start, s.log_snr_end)
            )
            value = -2 * torch.log(torch.tan(first + (last - first) * t))
        return value + self.shift

    def alpha_sigma(self, t: Tensor, ndim: int = 1) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, float32, with trailing axes of 1 up to `ndim` dimensions."""
        log_snr = _expanded(self.log_snr(t), ndim)
        return torch.sigmoid(log_snr).sqrt().float(), torch.sigmoid(-log_snr).sqrt().float()

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """y_t = alpha_t y_0 + sigma_t eps; t (B,)."""
        alpha, sigma = self.alpha_sigma(t, clean.ndim)
        return alpha * clean + sigma * noise

    def posterior(self, s: Tensor, t: Tensor, ndim: int) -> Posterior:
        """q(y_s | y_t, y_0) for s < t (DDPM, eq. 7; in log-SNR: Variational Diffusion, eq. 25).

        With c = 1 - exp(lambda_t - lambda_s): mean = alpha_s c y_0 + (alpha_t / alpha_s)
        (sigma_s^2 / sigma_t^2) y_t and variance = sigma_s^2 c.
        """
        at_s, at_t = _expanded(self.log_snr(s), ndim), _expanded(self.log_snr(t), ndim)
        c = -torch.expm1(at_t - at_s)
        alpha_s, alpha_t = torch.sigmoid(at_s).sqrt(), torch.sigmoid(at_t).sqrt()
        variance_s, variance_t = torch.sigmoid(-at_s), torch.sigmoid(-at_t)
        tiny = 1e-20
        return Posterior(
            of_clean=(alpha_s * c).float(),
            of_noisy=(alpha_t / alpha_s * variance_s / variance_t).float(),
            log_variance=torch.log((variance_s * c).clamp_min(tiny)).float(),
            log_variance_max=torch.log((variance_t * c).clamp_min(tiny)).float(),
        )


def resolution_shift(size: int, base_size: int = 64) -> float:
    """Shift that gives planes of `size` the look of `base_size` (simple diffusion, section 2.1)."""
    return 2 * math.log(base_size / size)


def _expanded(value: Tensor, ndim: int) -> Tensor:
    return value.reshape(value.shape + (1,) * (ndim - value.ndim))
