"""Plane normalisation by the statistics of the dataset, and what both systems share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rodin.nn.aware_conv import PLANES


class PlaneStatistics(nn.Module):
    """Mean and deviation per channel, kept with the weights: (C,), or (3, C) to differ by plane."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Tensor | Sequence[float], std: Tensor | Sequence[float], channels: int
    ) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            numbers = torch.as_tensor(value, dtype=torch.float32)
            if numbers.shape not in {(channels,), (PLANES, channels)}:
                raise ValueError(
                    f"plane {name} is {tuple(numbers.shape)}; expected ({channels},) or "
                    f"(3, {channels}), the plane_channels of the U-Net"
                )
            if not bool(numbers.isfinite().all()):
                raise ValueError(f"plane {name} is not finite; check the dataset's statistics")
            full = numbers.expand(PLANES, channels).clone()[:, :, None, None]
            self.register_buffer(name, full)
        if not bool((self.std > 0).all()):
            raise ValueError("plane std has a value <= 0; drop constant channels from the planes")

    def normalise(self, planes: Tensor) -> Tensor:
        """Raw planes (B, 3, C, S, S) -> zero mean, unit deviation over the dataset."""
        return (planes - self.mean) / self.std

    def denormalise(self, planes: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return planes * self.std + self.mean


def required(batch: Mapping[str, Tensor], *keys: str) -> list[Tensor]:
    """The named tensors of a batch; ValueError naming what is missing."""
    missing = [key for key in keys if key not in batch]
    if missing:
        raise ValueError(f"batch lacks {', '.join(missing)}; it has {', '.join(sorted(batch))}")
    return [batch[key] for key in keys]


def spread_times(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Times in [0, 1), one in each of `count` equal parts, in random order of shift (VDM, I.1)."""
    offset = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    order = torch.randperm(count, generator=generator, device=generator.device)
    return ((order + offset) / count).to(device)


def randn_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise shaped as `like`, from a generator on any device."""
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like.device)


def rand(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1), (count,), from a generator on any device."""
    return torch.rand(count, generator=generator, device=generator.device).to(device)
