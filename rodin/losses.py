"""The losses of tri-plane fitting: Rodin (arXiv 2212.06135) section 3.1, RodinHD section 3.1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def photometric(rgb: Tensor, target: Tensor) -> Tensor:
    """L_rec: mean squared error of rendered pixels (..., 3), both over the same background."""
    return functional.mse_loss(rgb, target)


def alpha(rendered: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of coverage (...): we render the data, so the truth is known."""
    return functional.mse_loss(rendered, target)


def smooth(planes: Tensor) -> Tensor:
    """Total variation: mean over planes (..., H, W) of squared steps along rows and columns."""
    down = (planes[..., 1:, :] - planes[..., :-1, :]).square().mean()
    across = (planes[..., :, 1:] - planes[..., :, :-1]).square().mean()
    return down + across


def sparse(planes: Tensor) -> Tensor:
    """Mean |plane|: unneeded features go to zero."""
    return planes.abs().mean()


def compact(sigma: Tensor, nearby: Tensor) -> Tensor:
    """Density smoothness, mean |sigma(x) - sigma(x + e)| with e ~ N(0, 0.004^2): no floaters."""
    return (sigma - nearby).abs().mean()


def empty(sigma: Tensor, length: float) -> Tensor:
    """Opacity of a step of `length` box units at points known to be empty: mean 1 - exp(-s l).

    Falls off for large densities, so that wrongly dense space does not outweigh the pixels.
    """
    return (1 - torch.exp(-sigma * length)).mean()
