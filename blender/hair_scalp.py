"""The scalp: the patch of the subdivided head that hair grows from, with a map of its own."""

from __future__ import annotations

import numpy as np

from blender import meshes
from blender.figure import vertex_normals
from blender.hair_mask import CROWN, rooting, scalp_density, smoothstep, zone_weight
from blender.hair_nodes import Scalp
from blender.mesh_cut import clip, triangulate

_CENTRE = np.array([0.0, 3.0, 5.5])  # cm, template point from which the whole scalp is visible
_PAST_TINT = 0.45  # cm that strands root past the tint, so that no bare tint shows
_UNDERCOAT = 300_000.0  # strands a square metre
_PART_END = 6.5  # cm, z behind which strands no longer fall aside
SINK = 0.0004  # m that roots lie under the skin, so that no gap shows


def scalp_uv(npos: np.ndarray) -> np.ndarray:
    """Azimuthal map (N, 2) of template points about the crown: one-to-one over the scalp."""
    ray = npos - _CENTRE
    ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    angle = np.arccos(np.clip(ray[:, 1], -1, 1)) / np.pi  # 0 at the crown, 1 straight down
    flat = np.hypot(ray[:, 0], ray[:, 2])
    return 0.5 + 0.5 * angle[:, None] * ray[:, [0, 2]] / np.maximum(flat, 1e-9)[:, None]


def subdivide(
    vertices: np.ndarray, faces: np.ndarray, npos: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Catmull-Clark of vertices (N, 3) m, faces (F, 4), npos (N, 3); also the unit normals."""
    values, quads = meshes.subdivide(faces, np.concatenate([vertices, npos], axis=1), levels)
    points = np.ascontiguousarray(values[:, :3])
    return points, quads, values[:, 3:], vertex_normals(points, quads)


def make_scalp(
    vertices: np.ndarray,
    faces: np.ndarray,
    npos: np.ndarray,
    name: str,
    *,
    recede: float = 0.0,
    part: float | None = None,
    zone: str | None = None,
    levels: int = 2,
) -> Scalp:
    """The scalp of style `name` on a posed body: vertices (N, 3) m, quads (F, 4), npos (N, 3) cm.

    With `part` (cm) the patch is torn in two along x = part, and the node groups then blend no
    strand from guides on both sides. With `zone` hair grows there alone.
    """
    # The same patch for all styles, so that its subdivision is remembered.
    near = (scalp_density(npos, "short", 0.0, _PAST_TINT) > 0)[faces].any(axis=1)
    ring = np.zeros(len(npos), bool)
    ring[faces[near]] = True  # two rings more, so that subdivision sees the true neighbours
    ring[faces[ring[faces].any(axis=1)]] = True
    points, quads, fine, normals = subdivide(vertices, faces[ring[faces].any(axis=1)], npos, levels)
    density = scalp_density(fine, name, recede, _PAST_TINT)
    if zone is not None:
        density = density * zone_weight(fine, zone)
    triangles = triangulate(quads[(density[quads] > 0).any(axis=1)])
    values = np.concatenate([points, fine, normals, density[:, None]], axis=1)
    if part is None:
        used, local = _renumber(triangles, len(values))
        values = values[used]
    else:
        # Behind the crown the tear turns aside, so that hair from above falls over it.
        drift = smoothstep(1.0, -3.0, fine[:, 2]) * np.maximum(11.0 - fine[:, 1], 0.0)
        level = fine[:, 0] - part - drift
        left, low, _ = clip(-level, triangles, values)
        right, high, _ = clip(level, triangles, values)
        values, local = np.concatenate([left, right]), np.concatenate([low, high + len(left)])
    fine, normals = values[:, 3:6], values[:, 6:9]
    return Scalp(
        vertices=values[:, :3] - SINK * normals,
        faces=local,
        uv=scalp_uv(fine),
        density=values[:, 9] * rooting(fine, part, recede),
        npos=fine,
        normals=normals,
    )


def _renumber(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces use (M,), ascending, and the faces over those."""
    seen = np.zeros(count, bool)
    seen[faces] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[faces]


def undercoat(
    scalp: Scalp, points: int, part: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Short strands (M, points, 3) m, lying in all directions over the crown.

    Combed hair leaves the crown, and the end of the parting at x = `part` cm, to all sides;
    beneath it lies what is too short to be combed.
    """
    corners = scalp.vertices[scalp.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    place = scalp.npos[scalp.faces].mean(axis=1)
    weight = smoothstep(8.0, 5.5, np.linalg.norm(place - CROWN, axis=1))
    if part is not None:
        end = np.hypot(place[:, 0] - part, np.maximum(place[:, 2] - _PART_END, 0.0))
        weight = np.maximum(weight, smoothstep(3.6, 2.2, end) * smoothstep(5.0, 7.0, place[:, 1]))
    weight = weight * scalp.density[scalp.faces].mean(axis=1)
    expected = 0.5 * _UNDERCOAT * area * weight
    face = np.repeat(np.arange(len(expected)), rng.poisson(expected))
    share = rng.dirichlet((1.0, 1.0, 1.0), len(face))[..., None]
    roots = (corners[face] * share).sum(axis=1)
    normals = (scalp.normals[scalp.faces][face] * share).sum(axis=1)
    across = np.cross(normals, rng.normal(size=normals.shape))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    length = rng.uniform(0.008, 0.016, (len(face), 1, 1))
    t = np.linspace(0.0, 1.0, points)[:, None]
    # They rise by two millimetres and lie down again.
    return roots[:, None] + length * t * across[:, None] + 0.008 * t * (1 - t) * normals[:, None]


def pick_roots(scalp: Scalp, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (count,) of scalp vertices spread evenly (farthest point sampling)."""
    points = scalp.vertices[scalp.density > 0.02].astype(np.float32)
    index = np.flatnonzero(scalp.density > 0.02)
    count = min(count, len(index))
    chosen = np.empty(count, np.int64)
    chosen[0] = rng.integers(len(index))
    nearest = np.full(len(index), np.inf, np.float32)
    for k in range(1, count):
        gap = points - points[chosen[k - 1]]
        nearest = np.minimum(nearest, np.einsum("ij,ij->i", gap, gap))
        chosen[k] = nearest.argmax()
    return index[chosen]
