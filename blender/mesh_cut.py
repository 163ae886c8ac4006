"""Cutting meshes along level sets in numpy: the same vertices in the same order every time."""

from __future__ import annotations

import numpy as np


def triangulate(quads: np.ndarray) -> np.ndarray:
    """Quads (F, 4) to triangles (2F, 3) with the same facing."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def clip(
    level: np.ndarray, triangles: np.ndarray, attributes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the part of a triangle mesh where `level` (N,) is positive.

    triangles (F, 3); attributes (N, A), interpolated linearly at the cut (positions among them).
    Returns attributes (M, A), triangles (G, 3) and, for each new vertex, whether it lies on the
    cut (M,). Vertices within a thousandth of an edge from the cut are moved off it, so that no
    zero-area triangle appears.
    """
    scale = np.abs(level).max() if len(level) else 1.0
    level = np.where(np.abs(level) < 1e-6 * scale, 1e-6 * scale, level)
    keep = level > 0
    inside = keep[triangles].sum(axis=1)
    whole = triangles[inside == 3]
    # Turn each cut triangle so that its odd corner comes first; facing is kept.
    one, two = triangles[inside == 1], triangles[inside == 2]
    one = _turn(one, keep[one])
    two = _turn(two, ~keep[two])
    edges = np.concatenate([one[:, [0, 1]], one[:, [0, 2]], two[:, [1, 0]], two[:, [2, 0]]])
    unique, slot = np.unique(edges, axis=0, return_inverse=True)
    slot = slot.reshape(-1) + len(level)
    inner, outer = level[unique[:, 0]], level[unique[:, 1]]
    t = (inner / (inner - outer))[:, None]
    fresh = attributes[unique[:, 0]] * (1 - t) + attributes[unique[:, 1]] * t
    n1, n2 = len(one), len(two)
    a, b = slot[:n1], slot[n1 : 2 * n1]
    c, d = slot[2 * n1 : 2 * n1 + n2], slot[2 * n1 + n2 :]
    tip = np.stack([one[:, 0], a, b], axis=1)
    rest = np.concatenate(
        [np.stack([two[:, 1], two[:, 2], d], axis=1), np.stack([two[:, 1], d, c], axis=1)]
    )
    faces = np.concatenate([whole, tip, rest])
    merged = np.concatenate([attributes, fresh])
    on_cut = np.arange(len(merged)) >= len(level)
    used, local = np.unique(faces, return_inverse=True)
    return merged[used], local.reshape(-1, 3), on_cut[used]


def _turn(triangles: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Rotate each triangle (F, 3) so that the single corner marked in first (F, 3) leads."""
    start = first.argmax(axis=1)
    order = (start[:, None] + np.arange(3)) % 3
    return np.take_along_axis(triangles, order, axis=1)


def neighbours(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directed edges (E,), (E,) without repeats, and the number of neighbours (count,)."""
    ring = np.roll(faces, -1, axis=1)
    pairs = np.stack([faces.reshape(-1), ring.reshape(-1)], axis=1)
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return pairs[:, 0], pairs[:, 1], np.bincount(pairs[:, 0], minlength=count)


def smooth(points: np.ndarray, faces: np.ndarray, rounds: int, weight: np.ndarray) -> np.ndarray:
    """Laplacian smoothing of points (N, 3), `weight` (N,) in [0, 1] a round."""
    start, end, degree = neighbours(faces, len(points))
    for _ in range(rounds):
        total = np.stack(
            [np.bincount(start, points[end, k], len(points)) for k in range(3)], axis=1
        )
        mean = total / np.maximum(degree, 1)[:, None]
        points = points + weight[:, None] * (mean - points)
    return points
