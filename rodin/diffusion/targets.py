"""What a network predicts, what its loss weighs, and how clean planes come back.

Three outputs of one y_t = alpha y_0 + sigma eps: eps, x0 = y_0 and v = alpha eps - sigma y_0
(Progressive Distillation, section 4). Their squared errors are one error on three scales:
|eps error|^2 = SNR |x0 error|^2 and |v error|^2 = (1 + SNR) |x0 error|^2.

Legend: B samples; t times (B,); lambda the log-SNR at t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rodin.diffusion.schedule import Schedule

Output = Literal["eps", "v", "x0"]
OUTPUTS = ("eps", "v", "x0")
WEIGHTINGS = ("uniform", "velocity", "min_snr", "sigmoid")


@dataclass(frozen=True)
class WeightSettings:
    """How much the loss cares for each level of noise."""

    # uniform: 1 on whatever the network predicts; velocity: as a loss in v, cut to `limit` in x0;
    # min_snr: min(SNR, limit) in x0 (arXiv 2303.09556); sigmoid: sigmoid(bias - lambda) in eps
    # (arXiv 2303.00848, section 4)
    kind: Literal["uniform", "velocity", "min_snr", "sigmoid"] = "uniform"
    limit: float = 5.0  # largest weight of a squared error of x0, for velocity and min_snr
    bias: float = 0.0  # log-SNR around which sigmoid falls from 1 to 0

    def __post_init__(self) -> None:
        if self.kind not in WEIGHTINGS:
            raise ValueError(f"weight.kind is {self.kind!r}; use one of {', '.join(WEIGHTINGS)}")
        if not self.limit > 0:
            raise ValueError(f"weight.limit is {self.limit}; it must be above 0")

    def __call__(self, log_snr: Tensor, output: Output) -> Tensor:
        """Weight of the squared error of `output` at these log-SNRs, of their shape, float32."""
        snr = log_snr.double().exp()
        if self.kind == "uniform":
            return torch.ones_like(snr).float()
        of_x0 = {
            "velocity": (1 + snr).clamp_max(self.limit),
            "min_snr": snr.clamp_max(self.limit),
            "sigmoid": snr * torch.sigmoid(self.bias - log_snr.double()),
        }[self.kind]
        scale = {"x0": torch.ones_like(snr), "eps": snr, "v": 1 + snr}[output]
        return (of_x0 / scale).float()


def check_output(owner: str, output: str) -> None:
    """ValueError for an output that no network has."""
    if output not in OUTPUTS:
        raise ValueError(f"{owner}.output is {output!r}; use 'eps', 'v' or 'x0'")


def target(schedule: Schedule, clean: Tensor, noise: Tensor, t: Tensor, output: Output) -> Tensor:
    """What a perfect network says of y_t: eps, x0 or v, shaped as `clean` (B, ...)."""
    if output == "eps":
        return noise
    if output == "x0":
        return clean
    alpha, sigma = schedule.alpha_sigma(t, clean.ndim)
    return alpha * noise - sigma * clean


def to_clean(schedule: Schedule, noisy: Tensor, found: Tensor, t: Tensor, output: Output) -> Tensor:
    """Clean planes y_0 out of what the network said: the inverse of `target`, given y_t."""
    if output == "x0":
        return found
    alpha, sigma = schedule.alpha_sigma(t, noisy.ndim)
    if output == "v":
        return alpha * noisy - sigma * found
    return (noisy - sigma * found) / alpha
