"""Garments as meshes: the body model's tights, loosened, cut in template space, given a body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.body import bust_level
from blender.clothing_cuts import neckline
from blender.hair_collide import Collider
from blender.hair_mask import smoothstep
from blender.hair_scalp import subdivide
from blender.mesh_cut import clip, smooth, triangulate

_HEM = 0.014  # m that the cloth is turned in at the bust's outline
GARMENTS = ("tshirt", "vneck", "sweater", "turtleneck")


@dataclass(frozen=True)
class Fit:
    """How a garment hangs."""

    ease: float  # m between skin and fabric
    thickness: float  # m of the cloth
    collar: float  # cm, height of the collar band
    collar_rise: float  # m, how far the band stands off
    drape: int  # rounds of smoothing: more hides the body beneath


FITS: dict[str, Fit] = {
    "tshirt": Fit(ease=0.0045, thickness=0.0022, collar=1.6, collar_rise=0.0008, drape=10),
    "vneck": Fit(ease=0.0045, thickness=0.0022, collar=1.6, collar_rise=0.0008, drape=10),
    "sweater": Fit(ease=0.0075, thickness=0.0040, collar=2.1, collar_rise=0.0018, drape=18),
    "turtleneck": Fit(ease=0.0060, thickness=0.0035, collar=4.6, collar_rise=0.0045, drape=14),
}


@dataclass(frozen=True)
class GarmentMesh:
    """The outer face of a garment."""

    vertices: np.ndarray  # (N, 3) m
    triangles: np.ndarray  # (F, 3)
    npos: np.ndarray  # (N, 3) cm
    thickness: float  # m, to be added inwards


def make_garment(
    vertices: np.ndarray,
    faces: np.ndarray,
    npos: np.ndarray,
    garment: str,
    collider: Collider,
) -> GarmentMesh:
    """Cut and fit a garment from the tights: vertices (N, 3) m, quads (F, 4), npos (N, 3) cm.

    Raises ValueError for a garment that is not in GARMENTS.
    """
    if garment not in FITS:
        raise ValueError(f"garment {garment!r} is unknown; use one of {', '.join(GARMENTS)}")
    fit = FITS[garment]
    wanted = (neckline(npos, garment) > -3.0) & (bust_level(vertices) > -0.03)
    patch = faces[wanted[faces].any(axis=1)]
    points, quads, fine, normals = subdivide(vertices, patch, npos, 2)
    below = neckline(fine, garment)
    # The band holds on to the neck; from there down the cloth hangs freely.
    loose = smoothstep(0.0, fit.collar + 3.0, below)
    ease = fit.ease * (0.55 + 0.45 * loose)
    band = fit.collar_rise * smoothstep(fit.collar + 0.5, fit.collar - 0.4, below)
    points = points + (ease + band)[:, None] * normals
    points = smooth(points, quads, fit.drape, 0.6 * (0.15 + 0.85 * loose))
    clearance = fit.thickness + 0.0015 + 0.5 * (ease - fit.ease * 0.55) + band
    points = collider.push_out(points, clearance)
    points = smooth(points, quads, 2, np.full(len(points), 0.5))
    points = collider.push_out(points, fit.thickness + 0.001)
    data, triangles, _ = clip(below, triangulate(quads), np.concatenate([points, fine], axis=1))
    data, triangles, on_cut = clip(bust_level(data[:, :3]), triangles, data)
    data, triangles = _hem(data, triangles, on_cut)
    return GarmentMesh(data[:, :3], triangles, data[:, 3:], fit.thickness)


def _hem(
    data: np.ndarray, triangles: np.ndarray, on_cut: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the cloth (N, 6) in at the bust's outline, so that no gap shows between it and the skin.

    A flange follows the outline's own surface from each edge on the cut towards the body.
    """
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = ends[on_cut[ends].all(axis=1)]
    rim, local = np.unique(ends, return_inverse=True)
    local = local.reshape(-1, 2)
    points, level = data[:, :3], bust_level(data[:, :3])
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    index = triangles.reshape(-1)
    normal = np.stack([np.bincount(index, face[:, k], len(data)) for k in range(3)], axis=1)[rim]
    here, step = points[rim], 1e-4
    slope = np.stack([bust_level(here + step * axis) - level[rim] for axis in np.eye(3)], axis=1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    inward = (normal * slope).sum(axis=1, keepdims=True) * slope - normal
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12)
    fresh = data[rim].copy()
    fresh[:, :3] += _HEM * inward
    low = len(data) + local
    flange = np.concatenate(
        [
            np.stack([ends[:, 1], ends[:, 0], low[:, 0]], axis=1),
            np.stack([ends[:, 1], low[:, 0], low[:, 1]], axis=1),
        ]
    )
    return np.concatenate([data, fresh]), np.concatenate([triangles, flange])
