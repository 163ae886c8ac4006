"""Small solids in numpy: tubes, sweeps, ellipsoids, and how they become Blender objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import bpy
import numpy as np

from blender.hair_guides import HeadFrame
from blender.meshes import make_object


@dataclass(frozen=True)
class Shape:
    """Quads over points in centimetres of the head frame, with values at the points."""

    points: np.ndarray  # (N, 3) cm
    quads: np.ndarray  # (F, 4)
    values: dict[str, np.ndarray] = field(default_factory=dict)  # (N,), (N, 3) or (N, 4)


def merge(shapes: Sequence[Shape]) -> Shape:
    """One shape of several that hold the same values."""
    starts = np.cumsum([0, *(len(s.points) for s in shapes)])
    return Shape(
        np.concatenate([s.points for s in shapes]),
        np.concatenate([s.quads + k for s, k in zip(shapes, starts, strict=False)]),
        {k: np.concatenate([s.values[k] for s in shapes]) for k in shapes[0].values},
    )


def mirrored(shape: Shape) -> Shape:
    """The shape on the other side of x = 0, facing out as before."""
    return Shape(shape.points * [-1.0, 1.0, 1.0], shape.quads[:, ::-1], shape.values)


def grid_quads(rows: int, columns: int, *, wrap: bool = False, loop: bool = False) -> np.ndarray:
    """Quads over a grid of rows x columns points; `wrap` closes columns, `loop` rows."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap:
        index = np.concatenate([index, index[:, :1]], axis=1)
    if loop:
        index = np.concatenate([index, index[:1]])
    corners = (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    return np.stack(corners, axis=-1).reshape(-1, 4)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def rounded(width: float, depth: float, corners: float = 4.0, count: int = 12) -> np.ndarray:
    """A section (count, 2) in cm: a rectangle with soft corners (2 an ellipse, more is squarer)."""
    turn = np.arange(count) * (2 * np.pi / count) + np.pi / count
    c, s = np.cos(turn), np.sin(turn)
    out = np.stack(
        [np.sign(c) * np.abs(c) ** (2 / corners), np.sign(s) * np.abs(s) ** (2 / corners)]
    )
    return out.T * (width / 2, depth / 2)


def sweep(
    path: np.ndarray,
    section: np.ndarray,
    up: np.ndarray,
    *,
    closed: bool = False,
    scale: np.ndarray | None = None,
) -> Shape:
    """A section (P, 2) or (N, P, 2) carried along a path (N, 3) cm.

    Its second axis keeps as near to `up` (3,) or (N, 3) as the path allows; `scale` (N,) or
    (N, 2) stretches the section. Open ends are closed.
    """
    if closed:
        along = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        along = np.gradient(path, axis=0)
    along = unit(along)
    up = np.broadcast_to(up, path.shape)
    side = unit(np.cross(along, up))
    top = np.cross(side, along)
    section = np.broadcast_to(section, (len(path), *section.shape[-2:]))
    if scale is not None:
        section = section * np.asarray(scale).reshape(len(path), 1, -1)
    rings = path[:, None] + section[..., :1] * side[:, None] + section[..., 1:] * top[:, None]
    if not closed:
        ends = np.repeat(path[[0, -1], None], section.shape[1], axis=1)
        rings = np.concatenate([ends[:1], rings, ends[1:]])
    quads = grid_quads(len(rings), section.shape[1], wrap=True, loop=closed)
    return Shape(rings.reshape(-1, 3), quads)


def tube(
    path: np.ndarray, radius: float | np.ndarray, *, closed: bool = False, sides: int = 8
) -> Shape:
    """A round wire along a path (N, 3) cm, of `radius` cm (one or (N,))."""
    span = path.max(axis=0) - path.min(axis=0)
    up = np.eye(3)[int(span.argmin())] + (0.013, 0.017, 0.011)  # never along the path
    scale = np.broadcast_to(np.asarray(radius, float), len(path))
    return sweep(path, rounded(2.0, 2.0, 2.0, sides), up, closed=closed, scale=scale)


def ellipsoid(
    centre: np.ndarray, radii: Sequence[float], axes: np.ndarray | None = None, sides: int = 12
) -> Shape:
    """A ball stretched along the columns of `axes` (3, 3) to `radii` cm."""
    rings = sides // 2 + 1
    polar = np.linspace(0, np.pi, rings)[:, None]
    turn = np.arange(sides)[None] * (2 * np.pi / sides)
    ball = np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn],
        axis=-1,
    ).reshape(-1, 3) * np.asarray(radii)
    axes = np.eye(3) if axes is None else axes
    return Shape(ball @ axes.T + centre, grid_quads(rings, sides, wrap=True))


def spline(knots: np.ndarray, count: int, *, closed: bool = False) -> np.ndarray:
    """Points (count, D), evenly spaced, on a Catmull-Rom curve through knots (K, D)."""
    knots = np.asarray(knots, float)
    if closed:
        full = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        full = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    pieces = len(full) - 3
    at = np.linspace(0, pieces, 16 * pieces + 1)
    low = np.minimum(at.astype(int), pieces - 1)
    t = (at - low)[:, None]
    a, b, c, d = (full[low + k] for k in range(4))
    fine = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return resample(fine, count, closed=closed)


def resample(path: np.ndarray, count: int, *, closed: bool = False) -> np.ndarray:
    """Evenly spaced points (count, D) along a path (N, D); a closed one ends where it starts."""
    length = np.concatenate([[0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
    at = np.linspace(0, length[-1], count + 1)[:-1] if closed else np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, path[:, k]) for k in range(path.shape[1])], axis=1)


def shape_object(
    name: str, shape: Shape, frame: HeadFrame, material: bpy.types.Material, label: int
) -> bpy.types.Object:
    """A labelled object, not yet in a scene, of a shape in the head frame.

    The attribute `head` (cm in the head frame) lets shaders paint in the head's own axes.
    """
    values = {"head": shape.points, **shape.values}
    made = make_object(name, frame.to_world(shape.points), shape.quads, values, material)
    bpy.context.scene.collection.objects.unlink(made)
    made.pass_index = label
    return made
