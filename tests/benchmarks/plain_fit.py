"""The straightforward engine that `bench_fit.py` compares with: EG3D's recipe, nothing skipped.

48 stratified and 48 importance samples along every ray's way through the box (EG3D, arXiv
2112.07945, appendix; NeRF's hierarchical sampling), `grid_sample` on dense planes, autograd, Adam.
Pixels are drawn from whole pictures. Same decoder, losses and learning rates as ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras, losses, metrics
from rodin.conventions import PLANE_AXES
from rodin.decoder import TriplaneDecoder
from rodin.fit_settings import FitSettings, rate
from rodin.render import box_span, quadrature
from rodin.views import Views


def features_at(planes: Tensor, points: Tensor) -> Tensor:
    """planes (3, C, R, R), points (M, 3) -> (M, C) by grid_sample."""
    grid = torch.stack([points[:, (column, row)] for row, column in PLANE_AXES])
    found = functional.grid_sample(planes, grid[:, None], align_corners=False)
    return found.sum(0)[:, 0].T


def importance(edges: Tensor, weights: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """(N, samples) distances drawn from piecewise constant weights (N, S) between edges."""
    density = weights + 1e-5
    total = functional.pad((density / density.sum(1, keepdim=True)).cumsum(1), (1, 0))
    places = torch.rand(len(edges), samples, generator=generator)
    right = torch.searchsorted(total, places, right=True).clamp(1, weights.shape[1])
    low, high = total.gather(1, right - 1), total.gather(1, right)
    share = ((places - low) / (high - low).clamp_min(1e-8)).clamp(0, 1)
    return torch.lerp(edges.gather(1, right - 1), edges.gather(1, right), share)


@dataclass
class PlainFit:
    """Fits planes (3, C, R, R), zeros at first, to views with a frozen decoder."""

    views: Views
    decoder: TriplaneDecoder
    settings: FitSettings
    coarse: int = 48  # stratified samples a ray
    fine: int = 48  # importance samples a ray

    def __post_init__(self) -> None:
        channels, side = self.decoder.config.channels, self.settings.resolution
        self.planes = torch.zeros(3, channels, side, side).requires_grad_()
        self.adam = torch.optim.Adam([self.planes], betas=(0.9, 0.99), eps=1e-15, fused=True)
        self.generator = torch.Generator().manual_seed(0)
        rgb, alpha = metrics.images(self.views)
        self.colour, self.alpha = rgb.view(-1, 3), alpha.flatten()
        self.height, self.width = alpha.shape[1:]
        self.cameras = self.views.cameras()

    def step(self, progress: float) -> None:
        """One training step; progress in [0, 1) sets the learning rate."""
        s = self.settings
        self.adam.param_groups[0]["lr"] = rate(s.plane_rate, s.plane_rate_end, progress)
        self.adam.zero_grad()
        pixel = torch.randint(len(self.alpha), (s.rays_per_step,), generator=self.generator)
        view, place = pixel // (self.height * self.width), pixel % (self.height * self.width)
        x, y = place % self.width + 0.5, place // self.width + 0.5
        origins, directions = cameras.pixel_rays(*(c[view] for c in self.cameras), x, y)
        distance, delta = self.samples(origins, directions)
        rgb, sigma = self.decode(origins, directions, distance)
        out = quadrature(rgb, sigma, distance, delta)
        loss = losses.photometric(out.rgb[None], self.colour[pixel][None])
        loss = loss + s.alpha_weight * losses.alpha(out.alpha[None], self.alpha[pixel][None])
        loss = loss + s.smooth_weight * losses.smooth(self.planes[None])
        loss = loss + s.sparse_weight * losses.sparse(self.planes[None])
        loss.sum().backward()
        self.adam.step()

    def decode(
        self, origins: Tensor, directions: Tensor, distance: Tensor
    ) -> tuple[Tensor, Tensor]:
        points = origins[:, None] + distance[..., None] * directions[:, None]
        rgb, sigma = self.decoder(features_at(self.planes, points.flatten(0, 1)))
        return rgb.view(*distance.shape, 3), sigma.view(distance.shape)

    @torch.no_grad()
    def samples(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (N, coarse + fine), sorted, and the lengths that they stand for."""
        near, far = (span[:, None] for span in box_span(origins, directions))
        edges = near + (far - near) * torch.linspace(0, 1, self.coarse + 1)
        jitter = torch.rand(len(edges), self.coarse, generator=self.generator)
        coarse = torch.lerp(edges[:, :-1], edges[:, 1:], jitter)
        _, sigma = self.decode(origins, directions, coarse)
        passed = torch.exp(-functional.pad((sigma * edges.diff(dim=1)).cumsum(1), (1, 0)))
        fine = importance(edges, -passed.diff(dim=1), self.fine, self.generator)
        distance = torch.cat((coarse, fine), 1).sort(1)[0]
        middle = (distance[:, 1:] + distance[:, :-1]) / 2
        return distance, torch.cat((near, middle, far), 1).diff(dim=1)
