"""The scalp: the patch of the subdivided head that hair grows from, with a map of its own."""

from __future__ import annotations

import bpy
import numpy as np

from blender.hair_mask import rooting, scalp_density
from blender.hair_nodes import Scalp

_CENTRE = np.array([0.0, 3.0, 5.5])  # cm, template point from which the whole scalp is visible
_PAST_TINT = 0.45  # cm that strands root past the tint, so that no bare tint shows
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
    """Blender's own subdivision of vertices (N, 3) m, faces (F, 4), npos; also the normals."""
    used, local = np.unique(faces, return_inverse=True)
    mesh = bpy.data.meshes.new("subdivide")
    mesh.from_pydata(vertices[used].tolist(), [], local.reshape(faces.shape).tolist())
    attribute = mesh.attributes.new("npos", "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", npos[used].astype(np.float32).reshape(-1))
    target = bpy.data.objects.new("subdivide", mesh)
    target.modifiers.new("subdivide", "SUBSURF").levels = levels
    bpy.context.scene.collection.objects.link(target)
    fine = target.evaluated_get(bpy.context.evaluated_depsgraph_get()).data

    def read(source: object, field: str, width: int) -> np.ndarray:
        values = np.empty(len(source) * width, np.float32)  # type: ignore[arg-type]
        source.foreach_get(field, values)  # type: ignore[attr-defined]
        return values.reshape(-1, width).astype(np.float64)

    corners = np.empty(len(fine.loops), np.int32)
    fine.loops.foreach_get("vertex_index", corners)
    out = (
        read(fine.vertices, "co", 3),
        corners.reshape(-1, 4),
        read(fine.attributes["npos"].data, "vector", 3),
        read(fine.vertices, "normal", 3),
    )
    bpy.data.objects.remove(target)
    bpy.data.meshes.remove(mesh)
    return out


def make_scalp(
    vertices: np.ndarray,
    faces: np.ndarray,
    npos: np.ndarray,
    style: str,
    *,
    recede: float = 0.0,
    part: float | None = None,
    levels: int = 2,
) -> Scalp:
    """The scalp of a posed body: vertices (N, 3) m, quads (F, 4), npos (N, 3) cm.

    With `part` (cm) the patch is torn in two along x = part, and the node groups then blend no
    strand from guides on both sides.
    """
    coarse = scalp_density(npos, style, recede, _PAST_TINT) > 0
    near = coarse[faces].any(axis=1)
    ring = np.zeros(len(npos), bool)
    ring[faces[near]] = True  # two rings more, so that subdivision sees the true neighbours
    ring[faces[ring[faces].any(axis=1)]] = True
    patch = faces[ring[faces].any(axis=1)]
    points, quads, fine, normals = subdivide(vertices, patch, npos, levels)
    density = scalp_density(fine, style, recede, _PAST_TINT)
    quads = quads[(density[quads] > 0).any(axis=1)]
    if part is not None:
        left = fine[quads, 0].mean(axis=1) < part
        quads = quads + np.where(left, 0, len(points))[:, None]
        points, fine = np.tile(points, (2, 1)), np.tile(fine, (2, 1))
        normals, density = np.tile(normals, (2, 1)), np.tile(density, 2)
    used, local = np.unique(quads, return_inverse=True)
    return Scalp(
        vertices=points[used] - SINK * normals[used],
        faces=local.reshape(quads.shape),
        uv=scalp_uv(fine[used]),
        density=(density * rooting(fine, part, recede))[used],
        npos=fine[used],
        normals=normals[used],
    )


def pick_roots(scalp: Scalp, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (count,) of scalp vertices spread evenly (farthest point sampling)."""
    points = scalp.vertices[scalp.density > 0.02]
    index = np.flatnonzero(scalp.density > 0.02)
    count = min(count, len(index))
    chosen = np.empty(count, np.int64)
    chosen[0] = rng.integers(len(index))
    nearest = np.full(len(index), np.inf)
    for k in range(1, count):
        gap = points - points[chosen[k - 1]]
        nearest = np.minimum(nearest, np.einsum("ij,ij->i", gap, gap))
        chosen[k] = nearest.argmax()
    return index[chosen]
