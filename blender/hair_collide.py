"""A signed distance grid of the person, so that hair lies on it instead of in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial import cKDTree

# The part of the world that hair can reach, metres about the eye midpoint (Blender frame).
REGION = np.array([[-0.20, -0.20, -0.32], [0.20, 0.26, 0.24]])
# The part that clothes cover.
TORSO = np.array([[-0.27, -0.20, -0.32], [0.27, 0.25, -0.06]])
CELL = 0.009  # m; about as thick as an ear, coarse enough for 0.1 s


@dataclass(frozen=True)
class Collider:
    """Trilinear signed distances, metres, positive outside."""

    origin: np.ndarray  # (3,) m, the first sample
    cell: float  # m
    field: np.ndarray  # (X, Y, Z, 4) float32: distance in m, then the outward gradient

    def query(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances (...,) in metres and unit outward directions (..., 3) at points (..., 3).

        Points past the grid get the values of its nearest edge.
        """
        shape = np.array(self.field.shape[:3])
        flat = points.reshape(-1, 3)
        grid = np.clip((flat - self.origin) / self.cell, 0.0, shape - 1.001).astype(np.float32)
        low = grid.astype(np.int32)
        x, y, z = (grid - low).T
        base = (low[:, 0] * shape[1] + low[:, 1]) * shape[2] + low[:, 2]
        cells = self.field.reshape(-1, 4)
        value = np.zeros((len(flat), 4), np.float32)
        for i, wx in ((0, 1 - x), (1, x)):
            for j, wy in ((0, 1 - y), (1, y)):
                for k, wz in ((0, 1 - z), (1, z)):
                    corner = base + (i * shape[1] + j) * shape[2] + k
                    value += (wx * wy * wz)[:, None] * cells[corner]
        value = value.reshape(*points.shape[:-1], 4)
        norm = np.linalg.norm(value[..., 1:], axis=-1, keepdims=True)
        return value[..., 0], value[..., 1:] / np.maximum(norm, 1e-6)

    def push_out(self, points: np.ndarray, clearance: np.ndarray | float) -> np.ndarray:
        """Move points (..., 3) that are nearer than `clearance` metres straight outwards."""
        distance, outward = self.query(points)
        depth = np.maximum(clearance - distance, 0.0)
        return points + depth[..., None] * outward


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

    counts = np.ceil((region[1] - region[0]) / (2 * CELL)).astype(int) + 1
    index = np.indices(counts).reshape(3, -1).T
    coarse = signed(region[0] + index * (2 * CELL)).reshape(counts)
    fine = zoom(coarse, (2 * counts - 1) / counts, order=1)
    # Only cells that the surface may cross are worth exact values.
    close = np.argwhere(np.abs(fine) < 2.5 * CELL)
    fine[tuple(close.T)] = signed(region[0] + close * CELL)
    slope = np.stack(np.gradient(fine, CELL), axis=-1)
    field = np.concatenate([fine[..., None], slope], axis=-1).astype(np.float32)
    return Collider(region[0], CELL, field)
