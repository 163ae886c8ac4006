"""Plane normalisation by the statistics of the dataset, and what both systems share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from rodin import triplane
from rodin.nn.aware_conv import PLANES


class PlaneStatistics(nn.Module):
    """Mean and deviation of the planes, kept with the weights.

    The mean is a number per channel (C,), or per plane and channel (3, C), or a map (3, C, s, s):
    what is left is then what differs between avatars. Heads that stand alike share most of their
    planes (over nine tenths of the variance of fitted heads), and a network that need not learn the
    shared part trains several times faster. The deviation is (C,) or (3, C), about that mean.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Tensor | Sequence[float],
        std: Tensor | Sequence[float],
        channels: int,
        size: int,
    ) -> None:
        super().__init__()
        numbers = torch.as_tensor(mean, dtype=torch.float32)
        if numbers.ndim == 4 and numbers.shape[:2] == (PLANES, channels):
            numbers = triplane.resize(numbers[None], size)[0]
        else:
            numbers = _per_channel("mean", numbers, channels)
        # Always the full map, so that the shape of the state does not tell where it came from.
        self.register_buffer("mean", numbers.expand(PLANES, channels, size, size).clone())
        self.register_buffer("std", _per_channel("std", std, channels))
        for name, value in (("mean", self.mean), ("std", self.std)):
            if not bool(value.isfinite().all()):
                raise ValueError(f"plane {name} is not finite; check the dataset's statistics")
        if not bool((self.std > 0).all()):
            raise ValueError("plane std has a value <= 0; drop constant channels from the planes")

    def normalise(self, planes: Tensor) -> Tensor:
        """Raw planes (B, 3, C, S, S) -> zero mean, unit deviation over the dataset."""
        return (planes - self.mean) / self.std

    def denormalise(self, planes: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return planes * self.std + self.mean


def _per_channel(name: str, value: Tensor | Sequence[float], channels: int) -> Tensor:
    """(C,) or (3, C) -> (3, C, 1, 1)."""
    numbers = torch.as_tensor(value, dtype=torch.float32)
    if numbers.shape not in {(channels,), (PLANES, channels)}:
        maps = f", or a map (3, {channels}, s, s)" if name == "mean" else ""
        raise ValueError(
            f"plane {name} is {tuple(numbers.shape)}; expected ({channels},) or (3, {channels})"
            f"{maps}, with the plane_channels of the U-Net"
        )
    return numbers.expand(PLANES, channels).clone()[:, :, None, None]


def measure_planes(planes: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean map (3, C, S, S) and deviation about it (3, C) of planes (3, C, S, S), in one pass."""
    total = square = torch.zeros(())
    count = 0
    for item in planes:
        exact = item.double()
        total, square = total + exact, square + exact.square()
        count += 1
    if count == 0:
        raise ValueError("there are no planes to measure; fit some avatars first")
    mean = total / count
    variance = (square / count - mean.square()).clamp_min(0).mean((-2, -1))
    # With a single avatar nothing differs: any deviation does.
    std = variance.sqrt() if count > 1 else mean.std((-2, -1))
    return mean.float(), std.clamp_min(1e-6).float()


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
