"""A garment's outer face as something to lay other things on: collars, ties, buttons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

_KNEE, _LIMIT = 0.236, 0.2495  # m behind the eyes: where pressing into the box starts; its end
_NEAR = 6  # vertices that a point is blended from


@dataclass(frozen=True)
class Surface:
    """Points (N, 3) m with outward unit normals (N, 3) and template positions (N, 3) cm."""

    points: np.ndarray
    normals: np.ndarray
    npos: np.ndarray

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)

    @cached_property
    def _template(self) -> cKDTree:
        return cKDTree(self.npos)

    def at(self, npos: np.ndarray) -> np.ndarray:
        """World points (..., 3) m nearest to template points (..., 3) cm near the surface."""
        flat = npos.reshape(-1, 3)
        weight, index = _weights(self._template, flat)
        return np.einsum("nk,nkd->nd", weight, self.points[index]).reshape(npos.shape)

    def facing(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals (..., 3) at points (..., 3) m."""
        weight, index = _weights(self._tree, points.reshape(-1, 3))
        normal = np.einsum("nk,nkd->nd", weight, self.normals[index])
        return unit(normal).reshape(points.shape)

    def height(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Height (...,) m of points (..., 3) above the surface, and normals (..., 3) there."""
        flat = points.reshape(-1, 3)
        weight, index = _weights(self._tree, flat)
        normal = unit(np.einsum("nk,nkd->nd", weight, self.normals[index]))
        foot = np.einsum("nk,nkd->nd", weight, self.points[index])
        height = ((flat - foot) * normal).sum(axis=1)
        return height.reshape(points.shape[:-1]), normal.reshape(points.shape)

    def lay(self, points: np.ndarray, height: np.ndarray | float) -> np.ndarray:
        """Points (..., 3) m moved along the normals to `height` m above the surface."""
        now, normal = self.height(points)
        return points + (height - now)[..., None] * normal

    def lift(self, points: np.ndarray, height: np.ndarray | float) -> np.ndarray:
        """The same, but points that are higher already stay."""
        now, normal = self.height(points)
        return points + np.maximum(height - now, 0.0)[..., None] * normal


def into_box(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) m pressed into the box's back; what lay behind another point still does."""
    room = _LIMIT - _KNEE
    beyond = np.maximum(points[..., 1] - _KNEE, 0.0)
    out = points.copy()
    out[..., 1] += room * np.tanh(beyond / room) - beyond
    return out


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) at length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _weights(tree: cKDTree, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blending weights (N, k), which fade to 0 at the farthest, and indices (N, k)."""
    far, index = tree.query(points, k=_NEAR, workers=1)
    weight = (1.0 - far / (far[:, -1:] * 1.02 + 1e-9)) ** 2 / (far + 1e-5)
    return weight / weight.sum(axis=1, keepdims=True), index


def distance_to_edge(points: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Distance (N,) of points (N, 3) from the curve on which `edge` (E, 3) lies closely."""
    _, index = cKDTree(edge).query(points, k=2, workers=1)
    start, end = edge[index[:, 0]], edge[index[:, 1]]
    line = end - start
    size = np.maximum((line**2).sum(axis=1), 1e-12)
    t = np.clip(((points - start) * line).sum(axis=1) / size, 0.0, 1.0)
    return np.linalg.norm(points - start - t[:, None] * line, axis=1)


@dataclass(frozen=True)
class Rim:
    """A garment's edge round the neck: P points from the front over +x to the back and round."""

    points: np.ndarray  # (P, 3) m
    npos: np.ndarray  # (P, 3) cm
    along: np.ndarray  # (P, 3) unit tangents
    into: np.ndarray  # (P, 3) unit directions on the cloth, away from the edge
    length: np.ndarray  # (P,) cm from the first point
    closed: bool  # whether the last point meets the first


def make_rim(surface: Surface, edge: np.ndarray, count: int = 145) -> Rim:
    """The rim through template points `edge` (E, 3) cm of a surface, evenly in length."""
    turn = np.arctan2(edge[:, 0], edge[:, 2] - 2.0) % (2 * np.pi)
    turn, first = np.unique(np.round(turn, 6), return_index=True)
    edge = edge[first]
    closed = turn[0] < 0.12
    dense = np.linspace(0.0 if closed else turn[0], 2 * np.pi if closed else turn[-1], 721)
    line = np.stack(
        [np.interp(dense, turn, edge[:, k], period=2 * np.pi) for k in range(3)], axis=1
    )
    world = surface.at(_blur(line, 9, closed))
    steps = np.linalg.norm(np.diff(world, axis=0), axis=1)
    length = np.concatenate([[0.0], steps.cumsum()])
    even = np.linspace(0.0, length[-1], count)
    points = np.stack([np.interp(even, length, world[:, k]) for k in range(3)], axis=1)
    angle = np.interp(even, length, dense)
    npos = np.stack([np.interp(angle, dense, line[:, k]) for k in range(3)], axis=1)
    points = _blur(points, 3, closed)
    along = unit(np.gradient(points, axis=0))
    if closed:
        along[0] = along[-1] = unit(points[1] - points[-2])
    into = unit(np.cross(surface.facing(points), along))
    if into[count // 2, 2] > 0:  # at the nape the cloth goes down
        into = -into
    into = unit(_blur(into, 9, closed))
    return Rim(points, npos, along, into, even * 100.0, closed)


def _blur(line: np.ndarray, width: int, closed: bool) -> np.ndarray:
    """A moving average over a polyline (P, 3); ends stay."""
    half = width // 2
    if closed:
        padded = np.concatenate([line[-1 - half : -1], line, line[1 : 1 + half]])
    else:
        padded = np.concatenate([np.repeat(line[:1], half, 0), line, np.repeat(line[-1:], half, 0)])
    total = np.cumsum(np.concatenate([np.zeros((1, 3)), padded]), axis=0)
    out = (total[width:] - total[:-width]) / width
    if not closed:
        out[0], out[-1] = line[0], line[-1]
    return out
