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

GARMENTS = ("tshirt", "vneck", "sweater", "turtleneck", "hoodie")


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
    "hoodie": Fit(ease=0.0090, thickness=0.0045, collar=1.4, collar_rise=0.0010, drape=22),
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
    data, triangles, _ = clip(bust_level(data[:, :3]), triangles, data)
    return GarmentMesh(data[:, :3], triangles, data[:, 3:], fit.thickness)
