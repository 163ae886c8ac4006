"""Condition augmentation of the upsampler (Rodin, arXiv 2212.06135, section 4.3).

The low-resolution planes it is trained on are perfect; those the base makes are not. In training
they are randomly downsampled, blurred and made noisy, and the network is told how strongly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rodin import triplane
from rodin.diffusion.statistics import rand, randn_like


@dataclass(frozen=True)
class AugmentSettings:
    """What is done to the condition at strength 1; at strength 0 it stays as it is."""

    noise: float = 0.25  # deviation of the noise, in deviations of the planes
    blur: float = 0.7  # sigma of the Gaussian blur, in texels of the low-resolution planes
    blur_probability: float = 0.25  # share of samples that are blurred
    shrink: float = 0.25  # largest share of the texels along an axis lost by the downsampling

    def __post_init__(self) -> None:
        for name in ("noise", "blur"):
            if getattr(self, name) < 0:
                raise ValueError(f"augment.{name} is {getattr(self, name)}; it must be >= 0")
        if not 0 <= self.blur_probability <= 1:
            raise ValueError(
                f"augment.blur_probability is {self.blur_probability}; it lies in [0, 1]"
            )
        if not 0 <= self.shrink < 1:
            raise ValueError(f"augment.shrink is {self.shrink}; it must lie in [0, 1)")


def augment(
    planes: Tensor, strength: Tensor, settings: AugmentSettings, generator: torch.Generator
) -> Tensor:
    """Spoil normalised low-resolution planes (B, 3, C, s, s) by strength (B,) in [0, 1].

    Each sample is shrunk to a random size and back, blurred with some probability, and made noisy,
    the largest change growing linearly with its strength.
    """
    count, size = planes.shape[0], planes.shape[-1]
    shrink = rand(count, generator, planes.device) * strength * settings.shrink
    blurred = rand(count, generator, planes.device) < settings.blur_probability
    sigma = rand(count, generator, planes.device) * strength * settings.blur * blurred
    spoilt = []
    for i, (lost, width) in enumerate(zip(shrink.tolist(), sigma.tolist(), strict=True)):
        sample = planes[i : i + 1]
        small = max(1, round(size * (1 - lost)))
        if small < size:
            sample = triplane.resize(triplane.resize(sample, small), size)
        spoilt.append(blur(sample, width))
    noise = randn_like(planes, generator)
    return torch.cat(spoilt) + settings.noise * strength[:, None, None, None, None] * noise


def blur(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of each plane (B, 3, C, S, S), edges repeated; sigma in texels, 0 = none."""
    radius = min(math.ceil(3 * sigma), planes.shape[-1] - 1)
    if radius == 0:
        return planes
    place = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    kernel = torch.exp(-0.5 * (place / sigma).square())
    kernel = kernel / kernel.sum()
    images = planes.flatten(0, 2)[:, None]
    images = functional.pad(images, (radius,) * 4, mode="replicate")
    images = functional.conv2d(images, kernel[None, None, :, None])
    images = functional.conv2d(images, kernel[None, None, None, :])
    return images.view(planes.shape)
