"""Subdivision in numpy and meshes in Blender."""

from __future__ import annotations

from functools import lru_cache

import bpy
import numpy as np
from scipy import sparse


@lru_cache(maxsize=8)
def _subdivision(key: bytes, faces: int, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Catmull-Clark's matrix (M, count) and fine quads for coarse quads given as bytes."""
    quads = np.frombuffer(key, np.int64).reshape(faces, 4)
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, slot, uses = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    slot = slot.reshape(faces, 4)
    n_edges = len(edges)

    def matrix(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)

    face = matrix(np.repeat(np.arange(faces), 4), quads.reshape(-1), (faces, count)) / 4
    middle = matrix(np.repeat(np.arange(n_edges), 2), edges.reshape(-1), (n_edges, count)) / 2
    touch = matrix(slot.reshape(-1), np.repeat(np.arange(faces), 4), (n_edges, faces))
    inner = uses == 2
    smooth = 0.5 * middle + 0.25 * touch @ face
    edge = sparse.diags(inner * 1.0) @ smooth + sparse.diags(~inner * 1.0) @ middle
    # Vertices: (F + 2R + (n - 3) V) / n inside, (2R + 6V)/8 of boundary edges on a boundary.
    corner = matrix(quads.reshape(-1), np.repeat(np.arange(faces), 4), (count, faces))
    spoke = matrix(edges.reshape(-1), np.repeat(np.arange(n_edges), 2), (count, n_edges))
    valence = np.maximum(np.asarray(spoke.sum(axis=1)).ravel(), 1)
    degree = np.maximum(np.asarray(corner.sum(axis=1)).ravel(), 1)
    rim = spoke @ sparse.diags(~inner * 1.0)
    rim_count = np.asarray(rim.sum(axis=1)).ravel()
    on_rim = rim_count > 0
    eye = sparse.identity(count, format="csr")
    free = (
        sparse.diags(1 / (degree * valence)) @ (corner @ face)
        + sparse.diags(2 / valence**2) @ (spoke @ middle)
        + sparse.diags((valence - 3) / valence) @ eye
    )
    edged = 0.5 * eye + sparse.diags(0.5 / np.maximum(rim_count, 1)) @ (rim @ middle)
    vertex = sparse.diags(~on_rim * 1.0) @ free + sparse.diags(on_rim * 1.0) @ edged
    fine = np.stack(
        [
            quads,
            count + slot,
            np.repeat(count + n_edges + np.arange(faces)[:, None], 4, axis=1),
            count + np.roll(slot, 1, axis=1),
        ],
        axis=2,
    ).reshape(-1, 4)
    return sparse.vstack([vertex, edge, face]).tocsr(), fine


def subdivide(
    quads: np.ndarray, values: np.ndarray, levels: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Catmull-Clark: quads (F, 4) over values (N, A) to finer values (M, A) and quads (4F, 4).

    The matrix depends on the topology alone and is remembered, so that a second body is quick.
    """
    for _ in range(levels):
        used, local = np.unique(quads, return_inverse=True)
        local = np.ascontiguousarray(local.reshape(quads.shape), dtype=np.int64)
        weights, quads = _subdivision(local.tobytes(), len(local), len(used))
        values = weights @ values[used]
    return values, quads


def make_object(
    name: str,
    vertices: np.ndarray,
    faces: np.ndarray,
    attributes: dict[str, np.ndarray] | None = None,
    material: bpy.types.Material | None = None,
) -> bpy.types.Object:
    """A smooth-shaded mesh object, linked into the scene.

    vertices (N, 3) m; faces (F, 3 or 4); attributes by name, on points: (N,) numbers, (N, 3)
    vectors or (N, 4) linear colours.
    """
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    corners = faces.shape[1]
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, corners, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    kinds = {1: ("FLOAT", "value"), 3: ("FLOAT_VECTOR", "vector"), 4: ("FLOAT_COLOR", "color")}
    for key, values in (attributes or {}).items():
        kind, field = kinds[1 if values.ndim == 1 else values.shape[1]]
        layer = mesh.attributes.new(key, kind, "POINT")
        layer.data.foreach_set(field, np.ascontiguousarray(values, np.float32).ravel())
    if material is not None:
        mesh.materials.append(material)
    target = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(target)
    return target
