"""Image metrics: PSNR and SSIM in float64, exact and small.

Images are (..., H, W, C) in [0, 1]. RGBA is compared over white, so that background counts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rodin.views import Views


def over(rgba: Tensor, background: float = 1.0) -> Tensor:
    """Straight-alpha RGBA (..., 4) in [0, 1] composited over a grey: (..., 3)."""
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    return rgb * alpha + background * (1 - alpha)


def images(views: Views, background: float = 1.0) -> tuple[Tensor, Tensor]:
    """Views as float32 rgb (V, H, W, 3) over the background, and alpha (V, H, W)."""
    rgba = torch.as_tensor(views.rgba).float() / 255
    return over(rgba, background), rgba[..., 3]


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, per image: (..., H, W, C) twice -> (...) float64."""
    error = (image.double() - target.double()).square().mean((-3, -2, -1))
    return -10 * torch.log10(error.clamp_min(1e-10))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity per image: (..., H, W, C) twice -> (...) float64.

    Gaussian window, 11 taps, sigma 1.5, no padding, mean over channels: Wang et al. 2004, the
    definition that published numbers use. Raises ValueError for images under 11 pixels.
    """
    if min(image.shape[-3:-1]) < 11:
        raise ValueError(f"images are {tuple(image.shape[-3:-1])}; SSIM needs at least 11 x 11")
    taps = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    taps = (taps / taps.sum()).to(image.device)

    def blur(x: Tensor) -> Tensor:
        x = functional.conv2d(x, taps.view(1, 1, -1, 1))
        return functional.conv2d(x, taps.view(1, 1, 1, -1))

    lead = image.shape[:-3]
    a, b = (x.double().flatten(0, -4) if lead else x.double()[None] for x in (image, target))
    a, b = (x.permute(0, 3, 1, 2).flatten(0, 1)[:, None] for x in (a, b))
    mean_a, mean_b = blur(a), blur(b)
    var_a = blur(a * a) - mean_a**2
    var_b = blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return similarity.mean((-3, -2, -1)).view(-1, image.shape[-1]).mean(-1).view(lead)


def alpha_iou(alpha: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of the silhouettes (alpha > 1/2), per image: (..., H, W) -> (...)."""
    a, b = alpha > 0.5, target > 0.5
    union = (a | b).sum((-2, -1)).clamp_min(1)
    return (a & b).sum((-2, -1)).double() / union


def depth_error(depth: Tensor, target: Tensor) -> Tensor:
    """Mean |difference| per depth image over the pixels that both cover (depth over 0).

    (..., H, W) twice -> (...) float64 in the unit of depth, 0 where no pixel is covered by both.
    """
    both = (depth > 0) & (target > 0)
    error = (depth.double() - target.double()).abs().where(both, 0).sum((-2, -1))
    return error / both.sum((-2, -1)).clamp_min(1)
