"""Occupancy grids: which voxels of the unit box can hold visible matter.

A grid is bool (G, G, G) or (B, G, G, G), indexed [x, y, z] in the avatar frame; voxel i spans
[-1 + 2i/G, -1 + 2(i+1)/G]. A grid may keep too much, never too little.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras, triplane
from rodin.decoder import TriplaneDecoder
from rodin.views import Views


def voxel_centres(size: int) -> Tensor:
    """(G^3, 3) float32 centres in the order of a flattened grid."""
    axis = -1 + (2 * torch.arange(size) + 1) / size
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).view(-1, 3)


def lookup(grid: Tensor, points: Tensor) -> Tensor:
    """Occupancy (B, N) bool of points (B, N, 3) in grids (B, G, G, G); outside the box is False."""
    size = grid.shape[-1]
    # A border of empty voxels stands for all that is outside.
    padded = functional.pad(grid, (1, 1, 1, 1, 1, 1))
    index = ((points + 1) * (size / 2) + 1).floor().clamp_(0, size + 1).int()
    x, y, z = index.unbind(-1)
    flat = (x * (size + 2) + y).mul_(size + 2).add_(z)
    rows = [cells.index_select(0, row) for cells, row in zip(padded.flatten(1), flat, strict=True)]
    return torch.stack(rows)


def dilate(grid: Tensor, voxels: int = 1) -> Tensor:
    """Grow occupied space by whole voxels (a cube): (..., G, G, G) bool -> the same shape."""
    if voxels < 1:
        return grid
    size = grid.shape[-1]
    flat = grid.reshape(-1, 1, size, size, size).float()
    # One axis after the other: a cube's maximum is separable.
    for axis in range(3):
        window, padding = [1, 1, 1], [0, 0, 0]
        window[axis], padding[axis] = 2 * voxels + 1, voxels
        flat = functional.max_pool3d(flat, window, 1, padding)
    return flat.bool().view(grid.shape)


@torch.no_grad()
def from_views(views: Views, size: int, use_depth: bool = True) -> Tensor:
    """Space carving: the visual hull, and with depth also the free space in front of surfaces.

    A voxel goes when, in some view, all pixels that it can touch are transparent, or all lie behind
    it. The footprint is that of the voxel's circumscribed sphere, at least a pixel, so no visible
    matter is lost. Voxels behind the surface stay. Returns bool (size, size, size).
    """
    centres = voxel_centres(size)
    radius = 3**0.5 / size
    kept = torch.ones(len(centres), dtype=torch.bool)
    camera_to_world, intrinsics = views.cameras()
    height, width = views.rgba.shape[1:3]
    for view in range(len(views)):
        pixels, depth = cameras.project(centres[kept], camera_to_world[view], intrinsics[view])
        focal = float(intrinsics[view, :2, :2].diagonal().max())
        # Half a pixel more: the renderer's own filter spreads matter that far.
        reach = int((focal * radius / (depth.min() - radius).clamp_min(1e-3)).ceil()) + 1
        near = _nearest(views, view, reach, use_depth)
        column = pixels[:, 0].floor().long()
        row = pixels[:, 1].floor().long()
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        flat = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        free = depth + radius < near.flatten()[flat]
        # Out of the frame a view says nothing.
        kept[kept.clone()] = ~(seen & free)
    return kept.view(size, size, size)


def _nearest(views: Views, view: int, reach: int, use_depth: bool) -> Tensor:
    """(H, W): the smallest depth within `reach` pixels; infinite where all is transparent."""
    opaque = torch.as_tensor(views.rgba[view, ..., 3]) > 0
    near = torch.zeros(opaque.shape)
    if use_depth and views.depth is not None:
        near = torch.as_tensor(views.depth[view]).float()
    near = near.where(opaque, torch.inf)
    window = 2 * reach + 1
    return -functional.max_pool2d(-near[None, None], window, 1, reach)[0, 0]


@torch.no_grad()
def from_density(
    planes: Tensor, decoder: TriplaneDecoder, size: int = 64, threshold: float = 0.1
) -> Tensor:
    """Voxels where the decoded density is worth rendering: planes (B, 3, C, H, W) -> (B, G, G, G).

    The density is evaluated at voxel centres; a voxel stays when it or any of its 26 neighbours
    reaches `threshold` (per box unit: what is left out dims a ray by at most 10 % a box unit,
    and in practice by far less, since fitted empty space is emptier). Not differentiable.
    """
    return dilate(torch.stack([_density(item, decoder, size) >= threshold for item in planes]))


@torch.no_grad()
def of_body(
    planes: Tensor,
    decoder: TriplaneDecoder,
    size: int = 64,
    threshold: float = 0.1,
    *,
    solid: float = 20.0,
    reach: int = 1,
) -> Tensor:
    """As `from_density`, without what floats in the air: planes (3, C, H, W) -> (G, G, G).

    Models leave specks and wisps beside an avatar. What is kept lies within `reach` voxels of the
    largest part of density `solid` (per box unit; meshes end there too) that hangs together; where
    nothing is so dense, all is. Fits lose nothing by it (docs/benchmarks.md).
    """
    from scipy import ndimage

    density = _density(planes, decoder, size)
    grid = dilate(density >= threshold)
    parts, count = ndimage.label((density >= solid).cpu().numpy(), np.ones((3, 3, 3)))
    if not count:
        return grid
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return grid & dilate(torch.from_numpy(parts == largest), 1 + reach).to(grid.device)


def _density(planes: Tensor, decoder: TriplaneDecoder, size: int) -> Tensor:
    """(G, G, G) at the centres of voxels, of planes (3, C, H, W)."""
    centres = voxel_centres(size).to(planes.device, planes.dtype)
    sigma = [
        decoder.sigma(triplane.sample(planes[None], part[None])[0]) for part in centres.split(2**16)
    ]
    return torch.cat(sigma).view(size, size, size)
