"""The losses of tri-plane fitting: Rodin (arXiv 2212.06135) section 3.1, RodinHD section 3.1.

B avatars; every loss is a mean per avatar, (B, ...) -> (B,), so that none depends on the others.
"""

from __future__ import annotations

from torch import Tensor


def photometric(rgb: Tensor, target: Tensor) -> Tensor:
    """L_rec: mean squared error of rendered pixels (B, N, 3), both over the same background."""
    return (rgb - target).square().flatten(1).mean(1)


def alpha(rendered: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of coverage (B, N): we render the data, so the truth is known."""
    return (rendered - target).square().mean(1)


def smooth(planes: Tensor) -> Tensor:
    """Total variation: mean over planes (B, ..., H, W) of squared steps along rows and columns."""
    down = (planes[..., 1:, :] - planes[..., :-1, :]).square().flatten(1).mean(1)
    across = (planes[..., :, 1:] - planes[..., :, :-1]).square().flatten(1).mean(1)
    return down + across


def sparse(planes: Tensor) -> Tensor:
    """Mean |plane| of (B, ...): unneeded features go to zero."""
    return planes.abs().flatten(1).mean(1)


def anchor(planes: Tensor, start: Tensor) -> Tensor:
    """Mean square of planes (B, ...) minus what they began as (...): of all planes that look alike
    those nearest to the mean person's, so that separate fits agree in what no picture shows."""
    return (planes - start).square().flatten(1).mean(1)


def compact(sigma: Tensor, nearby: Tensor) -> Tensor:
    """Density smoothness, mean |sigma(x) - sigma(x + e)| of (B, N), e ~ N(0, 0.004^2)."""
    return (sigma - nearby).abs().mean(1)


def empty(sigma: Tensor, length: float) -> Tensor:
    """Opacity of a step of `length` box units at points (B, N) known to be empty: 1 - exp(-s l).

    Falls off for large densities, so that wrongly dense space does not outweigh the pixels.
    """
    return (1 - (-sigma * length).exp()).mean(1)
