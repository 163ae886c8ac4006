"""Garments as meshes: the body model's tights, loosened, cut in template space, given a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import sparse

from blender.body import bust_level
from blender.clothing_cuts import neckline
from blender.clothing_folds import folds, tailoring
from blender.clothing_surface import Rim, Surface, distance_to_edge, into_box, make_rim
from blender.figure import vertex_normals
from blender.hair_collide import Collider
from blender.hair_mask import smoothstep
from blender.mesh_cut import clip, neighbours, triangulate
from blender.meshes import subdivide
from blender.streams import generator

_HEM = (0.014, 0.060)  # m that the cloth is turned in at the bust's outline, least and most
_OVERLAP = 0.004  # m that it reaches into the skin there
_SUNK = 0.0006  # m that its end lies inside the outline, under the bust's floor
_APART = 0.0012  # m of air between two layers
_HOLLOW = 0.0012  # m, how far smoothing lifts the valley of a deep fold
_HIDDEN = 3.0  # cm that an outer layer must reach past a point to make the inner one useless


@dataclass(frozen=True)
class Fit:
    """How a garment hangs."""

    ease: float  # m between skin and fabric
    thickness: float  # m of the cloth
    band: float  # cm, height of the collar band
    rise: float  # m, how far the band stands off
    drape: int  # rounds of smoothing: more hides the body beneath
    folds: float  # m, height of folds
    groove: float  # m, depth of the seams
    pad: float = 0.0  # m, height of a shoulder pad


_TEE = Fit(0.0045, 0.0022, 1.7, 0.0010, drape=10, folds=0.0097, groove=0.0010)
_SHIRT = replace(_TEE, band=0.0, rise=0.0, drape=12, folds=0.0112)
_COAT = Fit(0.0070, 0.0028, 0.0, 0.0, drape=16, folds=0.0093, groove=0.0016, pad=0.003)
FITS: dict[str, Fit] = {
    "tshirt": _TEE,
    "scoop": _TEE,
    "vneck": _TEE,
    "boatneck": replace(_TEE, band=0.5),
    "sweater": Fit(0.0075, 0.0040, 2.2, 0.0020, drape=18, folds=0.0104, groove=0.0016),
    "turtleneck": Fit(0.0060, 0.0035, 0.0, 0.0, drape=14, folds=0.0093, groove=0.0012),
    "tank": replace(_TEE, ease=0.0032, band=1.1, rise=0.0006, folds=0.0051),
    "camisole": replace(_TEE, ease=0.0034, band=0.5, rise=0.0004, folds=0.0042),
    "offshoulder": replace(_TEE, ease=0.0040, band=0.8, folds=0.0070),
    "shirt": _SHIRT,
    "dress_shirt": replace(_SHIRT, folds=0.0046, ease=0.0035),
    "polo": replace(_SHIRT, folds=0.0093),
    "hoodie": Fit(0.0085, 0.0040, 0.0, 0.0, drape=20, folds=0.0128, groove=0.0018),
    "denim_jacket": replace(_COAT, folds=0.0104, pad=0.0015),
    "bomber": replace(_COAT, ease=0.0090, folds=0.0162, pad=0.0),
    "cardigan": Fit(0.0065, 0.0036, 0.0, 0.0, drape=18, folds=0.0093, groove=0.0014),
    "suit": replace(_COAT, folds=0.0051, pad=0.0085, groove=0.0014),
}
# The layers of a garment, inner first; most have one, of their own name.
LAYERS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in FITS if name not in ("scoop", "dress_shirt")},
    "denim_jacket": ("tshirt", "denim_jacket"),
    "bomber": ("tshirt", "bomber"),
    "cardigan": ("tshirt", "cardigan"),
    "blazer": ("scoop", "suit"),
    "suit": ("dress_shirt", "suit"),
}
GARMENTS = tuple(LAYERS)


@dataclass(frozen=True)
class GarmentMesh:
    """The outer face of a garment."""

    vertices: np.ndarray  # (N, 3) m
    triangles: np.ndarray  # (F, 3)
    npos: np.ndarray  # (N, 3) cm
    thickness: float  # m, to be added inwards
    hollow: np.ndarray | None = None  # (N,) how far a point lies in a fold's valley, [-1, 1]
    edge: np.ndarray | None = None  # (N,) cm to the nearest edge of the cut


@dataclass(frozen=True)
class Layer:
    """A garment before the bust's outline cuts it, and what parts are fastened to."""

    name: str
    fit: Fit
    mesh: GarmentMesh
    surface: Surface
    rim: Rim
    body: Collider  # what it is worn on


@dataclass(frozen=True)
class _Base:
    """The tights of a figure, fine: every layer starts from the same vertices."""

    points: np.ndarray  # (N, 3) m
    npos: np.ndarray  # (N, 3) cm
    quads: np.ndarray  # (F, 4)
    mean: sparse.csr_matrix  # (N, N), each point's neighbours

    def smooth(self, points: np.ndarray, rounds: int, weight: np.ndarray) -> np.ndarray:
        """Laplacian smoothing, `weight` (N,) in [0, 1] a round."""
        for _ in range(rounds):
            points = points + weight[:, None] * (self.mean @ points - points)
        return points

    def hollows(self, surface: Surface) -> np.ndarray:
        """How concave a surface over these vertices is, (N,) in [-1, 1]."""
        flat = self.smooth(surface.points, 7, np.ones(len(surface.points)))
        bend = ((flat - surface.points) * surface.normals).sum(axis=1)
        for _ in range(3):
            bend = self.mean @ bend
        return np.tanh(bend / _HOLLOW)


def _base(vertices: np.ndarray, faces: np.ndarray, npos: np.ndarray) -> _Base:
    kept = (npos[:, 1] > -37.0) & (np.abs(npos[:, 0]) < 28.0)
    values = np.concatenate([vertices, npos], axis=1)
    fine, quads = subdivide(faces[kept[faces].any(axis=1)], values, 2)
    mean = _mean(np.ascontiguousarray(quads, np.int64).tobytes(), len(fine))
    return _Base(fine[:, :3], fine[:, 3:], quads, mean)


@lru_cache(maxsize=2)
def _mean(quads: bytes, count: int) -> sparse.csr_matrix:
    start, end, degree = neighbours(np.frombuffer(quads, np.int64).reshape(-1, 4), count)
    return sparse.csr_matrix((1.0 / degree[start], (start, end)), shape=(count, count))


def make_layers(
    vertices: np.ndarray,
    faces: np.ndarray,
    npos: np.ndarray,
    garment: str,
    collider: Collider,
    seed: int = 0,
) -> list[Layer]:
    """Cut and fit a garment from the tights: vertices (N, 3) m, quads (F, 4), npos (N, 3) cm.

    `seed` moves the folds. Inner layers come first. Raises ValueError for a garment that is not
    in GARMENTS.
    """
    if garment not in LAYERS:
        raise ValueError(f"garment {garment!r} is unknown; use one of {', '.join(GARMENTS)}")
    base = _base(vertices, faces, npos)
    out: list[Layer] = []
    under: Surface | None = None
    names = LAYERS[garment]
    for index, name in enumerate(names):
        rng = generator(seed, f"clothes.folds.{index}")
        points = _hang(base, FITS[name], neckline(base.npos, name), collider, under, rng)
        points = into_box(points)
        under = Surface(points, vertex_normals(points, base.quads), base.npos)
        out.append(_cut(base, under, collider, name, names[index + 1 :]))
    return out


def _hang(
    base: _Base,
    fit: Fit,
    below: np.ndarray,
    collider: Collider,
    under: Surface | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """The layer's outer face (N, 3), over the body and over the layer `under` it."""
    normals = vertex_normals(base.points, base.quads)
    # The band holds on to the neck; from there down the cloth hangs freely.
    loose = smoothstep(0.0, fit.band + 3.0, below)
    band = fit.rise * smoothstep(fit.band + 0.35, fit.band - 0.25, below)
    ease = fit.ease * (0.55 + 0.45 * loose)
    points = base.points + ease[:, None] * normals
    points = base.smooth(points, fit.drape, 0.6 * (0.15 + 0.85 * loose))
    points = collider.push_out(points, fit.thickness + 0.0015 + 0.5 * (ease - fit.ease * 0.55))
    points = base.smooth(points, 2, np.full(len(points), 0.5))
    normals = vertex_normals(points, base.quads)
    # Flat where the bust ends, or its outline would look torn.
    still = smoothstep(0.5, 4.0, below) * smoothstep(0.0, 0.03, bust_level(points))
    height = fit.folds * folds(base.npos, rng) * still
    height = height + band + tailoring(base.npos, fit.groove, fit.pad)
    points = points + height[:, None] * normals
    points = collider.push_out(points, fit.thickness + 0.001)
    if under is not None:
        # The same vertex of the layer beneath is right below.
        gap = ((points - under.points) * under.normals).sum(axis=1)
        lack = np.maximum(fit.thickness + _APART - gap, 0.0)
        points = points + lack[:, None] * under.normals
        points = base.smooth(points, 1, np.full(len(points), 0.4))
    return points


def _cut(base: _Base, surface: Surface, body: Collider, name: str, over: Sequence[str]) -> Layer:
    below = neckline(base.npos, name)
    data = np.concatenate([surface.points, base.npos, base.hollows(surface)[:, None]], axis=1)
    triangles = triangulate(base.quads)
    for other in over:  # what an outer layer hides is not worth drawing
        hidden = _HIDDEN - neckline(base.npos, other)
        triangles = triangles[(hidden[triangles] > 0).any(axis=1)]
    data, triangles, on_edge = clip(below, triangles, data)
    edge = data[on_edge]
    data, triangles, on_cut = clip(bust_level(data[:, :3]), triangles, data)
    data, triangles = _hem(data, triangles, on_cut, body)
    fit = FITS[name]
    away = 100.0 * distance_to_edge(data[:, :3], edge[:, :3])
    mesh = GarmentMesh(data[:, :3], triangles, data[:, 3:6], fit.thickness, data[:, 6], away)
    return Layer(name, fit, mesh, surface, make_rim(surface, edge[:, 3:6]), body)


def make_garment(
    vertices: np.ndarray,
    faces: np.ndarray,
    npos: np.ndarray,
    garment: str,
    collider: Collider,
) -> GarmentMesh:
    """The outermost layer alone; see `make_layers`."""
    return make_layers(vertices, faces, npos, garment, collider)[-1].mesh


def _hem(
    data: np.ndarray, triangles: np.ndarray, on_cut: np.ndarray, body: Collider
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the cloth (N, A) in at the bust's outline, so that no gap shows between it and the skin.

    A flange follows the outline's own surface from each edge on the cut into the body, however
    far the cloth hangs off it.
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
    length = np.clip(1.25 * body.distance(here) + _OVERLAP, *_HEM)  # not straight to the skin
    fresh[:, :3] += length[:, None] * inward + _SUNK * slope
    low = len(data) + local
    flange = np.concatenate(
        [
            np.stack([ends[:, 1], ends[:, 0], low[:, 0]], axis=1),
            np.stack([ends[:, 1], low[:, 0], low[:, 1]], axis=1),
        ]
    )
    return np.concatenate([data, fresh]), np.concatenate([triangles, flange])
