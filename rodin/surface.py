"""The surface of a tri-plane: vertices, normals and the colours that a viewer would see there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rodin import occupancy as occupancies
from rodin import triplane
from rodin.decoder import TriplaneDecoder

# Skin and hair are opaque within a few hundredths of a box unit: this density is inside.
SURFACE_SIGMA = 20.0
_COARSE = 64  # voxels a side of the grid that tells where the fine one is worth decoding
_CHUNK = 2**17  # points decoded at once
_BLUR = 0.8  # voxels, standard deviation; more would lose the frames of glasses
# A vertex is seen through this much matter: a ray along its normal, box units before and behind.
_BEFORE, _BEHIND, _STEPS = 0.02, 0.04, 12


class SurfaceError(ValueError):
    """A tri-plane without a surface; the message names the value and the fix."""


@dataclass(frozen=True)
class Surface:
    """N vertices in box units, unit normals outwards (N, 3), sRGB in [0, 1], faces (M, 3) int."""

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    faces: np.ndarray


@torch.no_grad()
def extract(
    planes: Tensor,
    decoder: TriplaneDecoder,
    *,
    size: int = 256,
    sigma: float = SURFACE_SIGMA,
    keep: float = 0.002,
    smooth: int = 30,
) -> Surface:
    """The closed surface of planes (3, C, R, R) where the density is `sigma` (per box unit).

    Marching cubes on `size`^3 voxels, of the opacity over a voxel instead of the density: the same
    level, but it grows evenly through it, so that vertices fall where the surface is. Hollows that
    no one can see are filled; parts under `keep` of the volume are dropped. A fitted density is
    rough, since pictures do not tell where inside a thin shell the matter is: `smooth` rounds of
    Taubin's filter (Taubin 1995) take that off and, unlike a blur, leave thin parts their volume.
    Raises SurfaceError when nothing is dense.
    """
    import trimesh
    from scipy import ndimage
    from skimage import measure

    density, corner = _density(planes, decoder, size, sigma)
    if not density.size or density.max() < sigma:
        raise SurfaceError(
            f"no voxel reaches density {sigma} (largest: {density.max(initial=0):.3g});"
            " pass a lower sigma"
        )
    # Opacity over a length in which the surface's own density hides half.
    value = 1 - np.exp2(-density / np.float32(sigma))
    solid = _filled(value >= 0.5)
    labels, count = ndimage.label(solid)
    voxels = np.bincount(labels.ravel(), minlength=count + 1)
    small = voxels < keep * voxels[1:].sum()
    small[0] = False
    value[solid & (value < 0.5)] = 1  # hidden
    value[small[labels]] = 0
    # A border of empty voxels closes the surface where it leaves the box.
    value = ndimage.gaussian_filter(np.pad(value, 2), _BLUR)
    vertices, faces, _, _ = measure.marching_cubes(value, 0.5, gradient_direction="ascent")
    vertices += np.asarray(corner) - 2
    shape = trimesh.Trimesh(-1 + (2 * vertices + 1) / size, faces, process=False)
    trimesh.smoothing.filter_taubin(shape, lamb=0.6, nu=0.615, iterations=2 * smooth)
    points, normals = np.array(shape.vertices), np.array(shape.vertex_normals)
    colours = _colours(planes, decoder, points, normals)
    return Surface(points.astype(np.float32), normals.astype(np.float32), colours, faces)


def _density(
    planes: Tensor, decoder: TriplaneDecoder, size: int, sigma: float
) -> tuple[np.ndarray, tuple[int, ...]]:
    """(X, Y, Z) float32 of the part of the size^3 voxels that holds anything, and its first voxel.

    0 in coarse voxels whose neighbourhood is far from dense.
    """
    coarse = min(_COARSE, size)
    near = occupancies.from_density(planes[None], decoder, coarse, threshold=0.02 * sigma)[0].cpu()
    axis = torch.div((torch.arange(size) * 2 + 1) * coarse, 2 * size, rounding_mode="floor")
    for dim in range(3):
        near = near.index_select(dim, axis)
    index = near.nonzero()
    if not len(index):
        return np.zeros((0, 0, 0), np.float32), (0, 0, 0)
    low, high = index.amin(0), index.amax(0) + 1
    look = triplane.reader(planes)
    volume = torch.zeros(tuple((high - low).tolist()))
    for part in index.split(_CHUNK):
        sigmas = decoder.sigma(look((-1 + (2 * part + 1) / size).to(planes)))
        volume[tuple((part - low).unbind(1))] = sigmas.float().cpu()
    return volume.numpy(), tuple(low.tolist())


def _filled(solid: np.ndarray) -> np.ndarray:
    """Without hollows. Those that the box cuts open are closed on its faces first."""
    from scipy import ndimage

    out = solid.copy()
    for axis in range(3):
        for side in (0, -1):
            face = np.moveaxis(out, axis, 0)[side]
            face |= ndimage.binary_fill_holes(face)
    return ndimage.binary_fill_holes(out)


def _colours(
    planes: Tensor, decoder: TriplaneDecoder, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """(N, 3) sRGB: composited along each normal as the renderer would, from outside inwards."""
    way = torch.linspace(-_BEFORE, _BEHIND, _STEPS)
    delta = float(way[1] - way[0])
    found = []
    origins, inwards = torch.as_tensor(points).float(), -torch.as_tensor(normals).float()
    for start, direction in zip(origins.split(2**14), inwards.split(2**14), strict=True):
        at = (start[:, None] + way[:, None] * direction[:, None]).clamp(-1, 1)
        features = triplane.sample(planes[None], at.view(1, -1, 3).to(planes))[0]
        view = direction[:, None].expand_as(at).reshape(-1, 3)
        rgb, sigma = decoder(features, view.to(planes))
        optical = sigma.float().cpu().view(-1, _STEPS) * delta
        passed = torch.exp(optical - optical.cumsum(1))
        weight = passed * (1 - torch.exp(-optical)) + 1e-6
        colour = (weight[..., None] * rgb.float().cpu().view(-1, _STEPS, 3)).sum(1)
        found.append(colour / weight.sum(1, keepdim=True))
    return torch.cat(found).clamp(0, 1).numpy()
