"""A signed distance grid of the person, so that hair lies on it instead of in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial import cKDTree

# The part of the world that hair can reach, metres about the eye midpoint (Blender frame).
REGION = np.array([[-0.20, -0.20, -0.32], [0.20, 0.26, 0.24]])
# The part that clothes cover.
TORSO = np.array([[-0.27, -0.20, -0.32], [0.27, 0.25, -0.06]])
_NEAR = {2: 2.6, 1: 1.8}  # cells from the surface that get exact values, by cell size
CELL = 0.009  # m; about as thick as an ear, coarse enough for 0.1 s


@dataclass(frozen=True)
class Collider:
    """Trilinear signed distances, metres, positive outside."""

    origin: np.ndarray  # (3,) m, the first sample
    cell: float  # m
    field: np.ndarray  # (X, Y, Z, 4) float32: distance in m, then the outward gradient

    @cached_property
    def flat(self) -> np.ndarray:
        """The distances (X * Y * Z,) alone."""
        return np.ascontiguousarray(self.field[..., 0]).reshape(-1)

    def _grid(self, points: np.ndarray) -> np.ndarray:
        """Grid coordinates (3, N) of points (..., 3), clipped to the grid."""
        last = np.array(self.field.shape[:3], np.float32) - np.float32(1.001)
        grid = (points.reshape(-1, 3) - self.origin).astype(np.float32) / np.float32(self.cell)
        return np.clip(grid, np.float32(0), last).T

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distances (...,) in metres alone; several times quicker than `query`."""
        x, y, z = grid = self._grid(points)
        low = grid.astype(np.int32)
        x, y, z = x - low[0], y - low[1], z - low[2]
        deep, wide = self.field.shape[2], self.field.shape[1] * self.field.shape[2]
        base = low[0] * wide + low[1] * deep + low[2]
        flat = self.flat
        rows = []
        for offset in (0, deep, wide, wide + deep):
            near = flat[base + offset]
            rows.append(near + z * (flat[base + (offset + 1)] - near))
        front = rows[0] + y * (rows[1] - rows[0])
        back = rows[2] + y * (rows[3] - rows[2])
        return (front + x * (back - front)).reshape(points.shape[:-1])

    def query(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances (...,) in metres and unit outward directions (..., 3) at points (..., 3).

        Points past the grid get the values of its nearest edge.
        """
        grid = self._grid(points)
        low = grid.astype(np.int32)
        x, y, z = grid - low
        deep, wide = self.field.shape[2], self.field.shape[1] * self.field.shape[2]
        base = low[0] * wide + low[1] * deep + low[2]
        cells = self.field.reshape(-1, 4)
        value = np.zeros((len(base), 4), np.float32)
        for i, wx in ((0, 1 - x), (wide, x)):
            for j, wy in ((0, 1 - y), (deep, y)):
                for k, wz in ((0, 1 - z), (1, z)):
                    value += (wx * wy * wz)[:, None] * cells[base + (i + j + k)]
        value = value.reshape(*points.shape[:-1], 4)
        norm = np.sqrt((value[..., 1:] ** 2).sum(axis=-1, keepdims=True))
        return value[..., 0], value[..., 1:] / np.maximum(norm, 1e-6)

    def push_out(self, points: np.ndarray, clearance: np.ndarray | float) -> np.ndarray:
        """Move points (..., 3) that are nearer than `clearance` metres straight outwards."""
        depth = clearance - self.distance(points)
        near = depth > 0
        out = points.copy()
        out[near] += depth[near][:, None] * self.query(points[near])[1]
        return out


def make_collider(points: np.ndarray, normals: np.ndarray, region: np.ndarray = REGION) -> Collider:
    """Signed distances to an oriented point set: points (N, 3) m, outward unit normals (N, 3).

    The sign and, near the surface, the value come from the plane of the nearest point, which is
    exact enough when points are closer together than two cells.
    """
    tree = cKDTree(points)

    def signed(where: np.ndarray) -> np.ndarray:
        far, index = tree.query(where, k=1, workers=1)
        plane = np.einsum("ij,ij->i", where - points[index], normals[index])
        # Close to the surface the plane is smoother than the distance to single points.
        blend = np.clip(far / (2 * CELL), 0.0, 1.0)
        return (1 - blend) * plane + blend * np.copysign(far, plane)

    # From cells of 4 CELL to cells of CELL: only those near the surface are worth exact values.
    counts = np.ceil((region[1] - region[0]) / (4 * CELL)).astype(int) + 1
    index = np.indices(counts).reshape(3, -1).T
    fine = signed(region[0] + index * (4 * CELL)).reshape(counts)
    for size in (2, 1):
        shape = np.array(fine.shape)
        fine = zoom(fine, (2 * shape - 1) / shape, order=1)
        close = np.argwhere(np.abs(fine) < _NEAR[size] * size * CELL)
        fine[tuple(close.T)] = signed(region[0] + close * (size * CELL))
    slope = np.stack(np.gradient(fine, CELL), axis=-1)
    field = np.concatenate([fine[..., None], slope], axis=-1).astype(np.float32)
    return Collider(region[0], CELL, field)
