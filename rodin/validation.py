"""Losses of people that training never sees, at fixed noise: comparable along a run and between."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rodin.diffusion.base import BaseSystem
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.prior import LatentPrior
from rodin.training import step_generator

LEVELS = 4  # equal parts of the times [0, 1], each measured at its middle


@torch.no_grad()
def losses_by_noise(
    system: nn.Module, batch: Mapping[str, Tensor], *, seed: int = 0
) -> dict[str, float]:
    """The mean "val_loss" and, for a diffusion system, "val_loss_t12" ... "_t87" at those times.

    The mean of a batch hides where a network is weak: at much noise it has the layout to guess, at
    little the detail. All noise is a function of the seed. `system` is left in evaluation mode.
    """
    device = next(system.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    count = len(next(iter(batch.values())))
    system.eval()
    if not isinstance(system, (BaseSystem, UpsamplerSystem, LatentPrior)):
        return {"val_loss": float(system(batch, step_generator(seed, 0))["loss"])}
    found = {}
    for level in range(LEVELS):
        time = (level + 0.5) / LEVELS
        t = torch.full((count,), time, dtype=torch.float64)
        parts = system.loss(batch, step_generator(seed, level), t)
        found[f"val_loss_t{int(100 * time):02d}"] = float(parts["loss"])
    return {"val_loss": sum(found.values()) / LEVELS, **found}
