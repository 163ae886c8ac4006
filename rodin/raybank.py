"""The rays that a fit draws from: pixels near the silhouette, and where each may meet matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras, metrics
from rodin import occupancy as occupancies
from rodin.render import box_span
from rodin.views import Views, ViewsError

_CHUNK = 8192  # rays looked up in the grid at a time
_EDGE = 2  # pixels about a silhouette in which rays are drawn


@dataclass(frozen=True)
class RayBatch:
    """N rays: origins and directions (N, 3), target rgb (N, 3) over white, alpha (N,), and the
    stretch [first, last] (N,) of each ray that can hold matter, with surface (N,): the distance to
    the visible surface, 0 where it is unknown."""

    origins: Tensor
    directions: Tensor
    rgb: Tensor
    alpha: Tensor
    first: Tensor
    last: Tensor
    surface: Tensor


class RayBank:
    """All pixels of some views that see, or nearly see, the avatar; drawn from at random.

    The others are left out: their space is emptied by `empty_points`, one sample at a time instead
    of a ray at a time. That skips most of the background. With depth, matter is looked for near
    the depths of a pixel's neighbourhood; without, where the ray crosses the visual hull.
    """

    def __init__(self, views: Views, grid_size: int, depth_band: float, use_depth: bool) -> None:
        self.views = views
        self.height, self.width = views.rgba.shape[1:3]
        self.depth_band = depth_band
        self.occupancy = occupancies.from_views(views, grid_size, use_depth)
        self.camera_to_world, self.intrinsics = views.cameras()
        rgb, alpha = metrics.images(views)
        self._colour = torch.cat((rgb, alpha[..., None]), -1).view(-1, 4)
        # Two pixels about the silhouette: the space just outside it must be emptied.
        near = functional.max_pool2d(alpha[:, None], 2 * _EDGE + 1, 1, _EDGE)[:, 0] > 0
        pixels = near.flatten().nonzero()[:, 0]
        depth = views.depth if use_depth else None
        if depth is None:
            first, last = self._stretch(pixels)
            surface = torch.zeros_like(first)
        else:
            first, last, surface = self._near_depth(pixels, torch.as_tensor(depth).float())
        hit = last > first
        self.pixels = pixels[hit].int()
        self.first, self.last, self.surface = first[hit], last[hit], surface[hit]
        outside = ~self.occupancy
        if not outside.any():
            raise ViewsError(
                f"no view shows any empty space: all {grid_size}^3 voxels may hold matter; mask the"
                " background of the views (alpha 0)"
            )
        shell = outside & occupancies.dilate(self.occupancy, 3)
        self._outside = [region.flatten().nonzero()[:, 0] for region in (shell, outside)]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, count: int, generator: torch.Generator) -> RayBatch:
        """`count` rays drawn with replacement."""
        chosen = torch.randint(len(self.pixels), (count,), generator=generator)
        pixels = self.pixels[chosen].long()
        origins, directions = self._rays(pixels)
        colour = self._colour[pixels]
        first, last, surface = self.first[chosen], self.last[chosen], self.surface[chosen]
        return RayBatch(origins, directions, colour[:, :3], colour[:, 3], first, last, surface)

    def empty_points(self, count: int, batch: RayBatch, generator: torch.Generator) -> Tensor:
        """(count, 3) points known to be empty, count a multiple of 4.

        Half of them in front of what the rays of a batch see, denser towards it; a quarter within
        three voxels of the carved grid's matter; a quarter anywhere outside it.
        """
        ray = torch.arange(count // 2) % len(batch.first)
        origins, directions = batch.origins[ray], batch.directions[ray]
        enter, _ = box_span(origins, directions)
        back = torch.rand(count // 2, generator=generator).square()
        distance = torch.lerp(batch.first[ray], enter, back)
        parts = [origins + distance[:, None] * directions]
        size = self.occupancy.shape[0]
        for region in self._outside:
            voxel = region[torch.randint(len(region), (count // 4,), generator=generator)]
            index = torch.stack((voxel // size**2, voxel // size % size, voxel % size), -1)
            jitter = torch.rand(index.shape, generator=generator)
            parts.append(-1 + 2 * (index + jitter) / size)
        return torch.cat(parts)

    def _rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        area = self.height * self.width
        view = torch.div(pixels, area, rounding_mode="floor")
        x = (pixels % self.width).float() + 0.5
        y = (torch.div(pixels, self.width, rounding_mode="floor") % self.height).float() + 0.5
        return cameras.pixel_rays(self.camera_to_world[view], self.intrinsics[view], x, y)

    def _stretch(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """First and last distance at which each pixel's ray is in occupied space; 0, 0 for none."""
        # A step is 1 to 1.8 voxel edges long: grown by a voxel, none is stepped over.
        grid = occupancies.dilate(self.occupancy)[None]
        size = grid.shape[-1]
        steps = size
        firsts, lasts = [], []
        for part in pixels.split(_CHUNK):
            origins, directions = self._rays(part)
            near, far = box_span(origins, directions)
            step = (far - near) / steps
            place = near[:, None] + step[:, None] * (torch.arange(steps) + 0.5)
            points = origins[:, None] + place[..., None] * directions[:, None]
            inside = occupancies.lookup(grid, points.flatten(0, 1)[None])
            inside = inside.view(len(part), steps)
            any_inside = inside.any(1)
            head = inside.byte().argmax(1)
            tail = steps - inside.flip(1).byte().argmax(1)
            firsts.append(torch.where(any_inside, near + step * head, 0))
            lasts.append(torch.where(any_inside, near + step * tail, 0))
        return torch.cat(firsts), torch.cat(lasts)

    def _near_depth(self, pixels: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First and last distance at which matter can be, and the distance of the pixel's own
        surface (0 where nothing is): from the depths (V, H, W) up to `_EDGE` pixels away."""
        window = 2 * _EDGE + 1
        hole = depth <= 0
        far = functional.max_pool2d(depth[:, None], window, 1, _EDGE)[:, 0]
        near = -functional.max_pool2d(-depth.where(~hole, torch.inf)[:, None], window, 1, _EDGE)
        view = torch.div(pixels, self.height * self.width, rounding_mode="floor")
        origins, directions = self._rays(pixels)
        slope = 1 / (directions * self.camera_to_world[view, :3, 2]).sum(-1)
        near, far, depth = (x.flatten()[pixels] * slope for x in (near, far, depth))
        # A fully covered pixel needs no sample behind its own surface.
        solid = (depth > 0) & (self._colour[pixels, 3] > 0.99)
        enter, leave = box_span(origins, directions)
        first = torch.maximum(near - self.depth_band, enter)
        last = torch.minimum(far.where(~solid, depth) + self.depth_band, leave)
        none = (far <= 0) | (last <= first)
        return first.masked_fill(none, 0), last.masked_fill(none, 0), depth


def place(
    batch: RayBatch, samples: int, band: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sorted sample distances and step lengths, each (N, samples), along the rays of a batch.

    Half of the samples are stratified over the whole stretch, the others over `band` in front of
    and behind the surface where it is known (everywhere else also over the stretch). A sample's
    step is its Voronoi cell on the stretch.
    """
    wide = samples // 2
    known = (batch.surface > 0)[:, None]
    first, last = batch.first[:, None], batch.last[:, None]
    low = torch.maximum(batch.surface[:, None] - band, first).minimum(last - 1e-3)
    high = torch.minimum(batch.surface[:, None] + band, last).maximum(low + 1e-3)
    jitter = torch.rand(len(batch.first), samples, generator=generator)
    whole = first + (last - first) * (torch.arange(wide) + jitter[:, :wide]) / wide
    tight = low + (high - low) * (torch.arange(samples - wide) + jitter[:, wide:]) / (
        samples - wide
    )
    even = first + (last - first) * (torch.arange(samples) + jitter) / samples
    distance = torch.cat((whole, tight), 1).sort(1)[0].where(known, even)
    middle = (distance[:, 1:] + distance[:, :-1]) / 2
    edges = torch.cat((first.minimum(distance[:, :1]), middle, last.maximum(distance[:, -1:])), 1)
    return distance, edges.diff(dim=1)
