"""How much of an error in planes is seen: a metric for losses (ours; not in the paper).

Most of what differs between fitted planes is never seen: texels in empty space and inside the head,
and directions of the features to which the decoder is nearly blind. An error e in normalised planes
changes a picture by J e; here J^T J is measured on renders of training planes (Hutchinson's
estimator: gradients of pictures summed with random signs) and kept as a product of a matrix over
channels and a map over texels, scaled so that what differs between people measures 1 on average.

Legend: C plane channels, S plane size, N people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rodin import cameras, triplane
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.statistics import PlaneStatistics
from rodin.nn.aware_conv import PLANES
from rodin.render import render

VIEWS = 2  # random cameras a person
SIGNS = 2  # random sums of a picture
ELEVATIONS = (-20.0, 40.0)  # degrees, of the cameras
SAMPLES = 64  # along a ray


@dataclass(frozen=True)
class Sight:
    """The metric e^T G e, weighted by a map."""

    channels: Tensor  # (C, C) symmetric, positive semi-definite
    texels: Tensor  # (3, S, S) >= 0

    def __call__(self, error: Tensor) -> Tensor:
        """Seen squared error (B,) of normalised planes (B, 3, C, S, S); about 1 for the data."""
        mixed = torch.einsum("cd,bpdhw->bpchw", self.channels, error)
        return ((error * mixed).sum(2) * self.texels).flatten(1).mean(1)

    def resized(self, size: int) -> Sight:
        """The same for planes of another size."""
        texels = triplane.resize(self.texels[None, :, None], size)[0, :, 0]
        return Sight(self.channels, texels * self.texels.mean() / texels.mean())


class SeenError(nn.Module):
    """Mean square (B,) of errors in normalised planes (B, 3, C, S, S), a share of it as seen.

    The sight is of the training alone and measured anew at its start: no part of the weights.
    """

    channels: Tensor
    texels: Tensor

    def __init__(self, owner: str, share: float, channels: int, size: int) -> None:
        """`owner` is whose setting `sight` the share is, for messages."""
        super().__init__()
        self.owner, self.share = owner, share
        self.register_buffer("channels", torch.zeros(channels, channels), persistent=False)
        self.register_buffer("texels", torch.zeros(3, size, size), persistent=False)

    def take(self, sight: Sight) -> None:
        """What a share above 0 needs before the first loss."""
        sight = sight.resized(self.texels.shape[-1])
        self.channels.copy_(sight.channels)
        self.texels.copy_(sight.texels)

    def forward(self, error: Tensor) -> Tensor:
        square = error.square().flatten(1).mean(1)
        if not self.share:
            return square
        if not bool(self.texels.any()):
            raise ValueError(
                f"{self.owner}.sight is {self.share}, and nothing was measured: attach a Sight"
            )
        seen = Sight(self.channels, self.texels)(error)
        return (1 - self.share) * square + self.share * seen


def check_share(owner: str, share: float) -> None:
    """ValueError for a setting `sight` that is out of range."""
    if not 0 <= share < 1:
        raise ValueError(f"{owner}.sight is {share}; it lies in [0, 1)")


def measure_sight(
    planes: Iterable[Tensor], decoder: TriplaneDecoder, statistics: PlaneStatistics, seed: int = 0
) -> Sight:
    """The metric of raw planes (3, C, S, S) of `statistics`' size; some 40 people are enough.

    Deterministic in `seed`. ValueError without planes, or where no ray meets an avatar.
    """
    generator = torch.Generator().manual_seed(seed)
    width = statistics.mean.shape[1]
    size = statistics.mean.shape[-1]
    texels = torch.zeros(PLANES, size, size)
    channels = torch.zeros(width, width)
    normal: list[Tensor] = []
    for item in planes:
        raw = item.detach()[None].requires_grad_()
        normal.append(statistics.normalise(raw.detach())[0])
        for _ in range(VIEWS):
            picture = _picture(raw, decoder, generator)
            for _ in range(SIGNS):
                signs = torch.randint(0, 2, picture.shape, generator=generator) * 2.0 - 1
                (slope,) = torch.autograd.grad((picture * signs).sum(), raw, retain_graph=True)
                slope = slope[0] * statistics.std
                texels += slope.square().sum(1)
                channels += torch.einsum("pchw,pdhw->cd", slope, slope)
    if not normal or not bool(texels.any()):
        raise ValueError(f"{len(normal)} planes show nothing to measure; fit some avatars first")
    # few people see through a texel: its neighbours say as much of it
    texels = functional.avg_pool2d(texels[None], 3, 1, 1, count_include_pad=False)[0]
    sight = Sight(channels / channels.diagonal().mean(), texels / texels.mean())
    scale = sight(torch.stack(normal)).mean().clamp_min(1e-12)
    return Sight(sight.channels / scale, sight.texels)


def _picture(planes: Tensor, decoder: TriplaneDecoder, generator: torch.Generator) -> Tensor:
    """Colour and alpha (1, S * S, 4) of raw planes (1, 3, C, S, S) from a random side."""
    turn, lift = torch.rand(2, generator=generator).tolist()
    low, high = ELEVATIONS
    pose = cameras.orbit(360 * turn, low + (high - low) * lift)
    side = planes.shape[-1]
    origins, directions = cameras.rays(pose, cameras.intrinsics_from_fov(side, side), side, side)
    seen = render(
        planes, decoder, origins.reshape(1, -1, 3), directions.reshape(1, -1, 3), samples=SAMPLES
    )
    return torch.cat((seen.rgb, seen.alpha[..., None]), -1)
