"""The 68 facial landmarks of the iBUG 300-W annotation, exact: points of the body model.

Order (from 0, "right" is the person's, on the viewer's left): jaw 0-16 from the right ear over the
chin to the left one, right brow 17-21, left brow 22-26, nose bridge 27-30, nostrils 31-35, right
eye 36-41, left eye 42-47, outer lips 48-59, inner lips 60-67.
Source: Sagonas et al., "300 Faces in-the-Wild Challenge", 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.body import Shaped
from blender.cameras import Cameras
from blender.hair_mask import scalp_density
from blender.spec_types import Hair
from rodin.conventions import blender_to_avatar

COUNT = 68
# Landmark -> (x, y, z) on the neutral template in cm: the middle line and the person's left.
_POINTS = {
    8: (0.00, -11.23, 13.45), 9: (1.44, -10.97, 13.18), 10: (2.92, -10.26, 11.63),
    11: (4.43, -8.96, 10.01), 12: (5.38, -7.58, 9.09), 13: (5.98, -6.21, 8.95),
    14: (6.66, -4.10, 8.31), 15: (6.98, -2.19, 7.78), 16: (7.05, 0.14, 7.57),
    22: (1.62, 1.73, 14.89), 23: (2.49, 2.28, 14.65), 24: (3.38, 2.57, 14.24),
    25: (4.23, 2.34, 13.73), 26: (5.56, 1.79, 12.39),
    27: (0.00, -0.23, 15.14), 28: (0.00, -1.36, 15.62), 29: (0.00, -2.18, 16.08),
    30: (0.00, -3.15, 16.69),
    33: (0.00, -4.79, 15.73), 34: (0.81, -4.71, 15.32), 35: (1.51, -4.48, 14.88),
    42: (1.75, -0.11, 13.81), 43: (2.72, 0.39, 14.06), 44: (3.84, 0.40, 14.01),
    45: (4.39, 0.03, 13.58), 46: (3.86, -0.36, 13.87), 47: (2.76, -0.41, 13.99),
    51: (0.00, -5.88, 15.97), 52: (0.80, -5.66, 15.85), 53: (1.79, -5.97, 15.24),
    54: (2.59, -6.75, 14.17), 55: (1.86, -7.41, 14.73), 56: (1.30, -7.71, 15.12),
    57: (0.00, -7.96, 15.56),
    62: (0.00, -6.76, 15.53), 63: (1.01, -6.71, 15.45), 64: (2.44, -6.73, 14.27),
    65: (1.11, -6.80, 15.17), 66: (0.00, -6.83, 15.40),
}  # fmt: skip
# Left landmark -> its mirror image on the right.
_MIRROR = {
    **{16 - k: k for k in range(8)}, **{26 - k: 17 + k for k in range(5)}, 34: 32, 35: 31,
    42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58,
    63: 61, 64: 60, 65: 67,
}  # fmt: skip
_NEAR = 0.03  # box units (7.5 mm) that a landmark may lie behind what is seen and still count


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of one avatar in V views."""

    points: np.ndarray  # (68, 3) float64, avatar frame, box units
    pixels: np.ndarray  # (V, 68, 2) float64, x, y in pixels, centres at +0.5
    visible: np.ndarray  # (V, 68) bool: in the picture and not hidden


def template_points() -> np.ndarray:
    """The landmarks (68, 3) on the neutral template, cm."""
    out = np.full((COUNT, 3), np.nan)
    for left, place in _POINTS.items():
        out[left] = place
        if left in _MIRROR:
            out[_MIRROR[left]] = place * np.array([-1.0, 1.0, 1.0])
    return out


def landmark_vertices(npos: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Indices (68,) of the skin's vertices nearest to the landmarks; npos (N, 3) cm, quads."""
    used = np.unique(skin)
    gap = np.linalg.norm(npos[used][None] - template_points()[:, None], axis=2)
    return used[gap.argmin(axis=1)]


def landmark_points(shaped: Shaped) -> np.ndarray:
    """The landmarks (68, 3) of a posed body in the avatar frame."""
    index = landmark_vertices(shaped.npos, shaped.body_quads)
    return blender_to_avatar(shaped.vertices[index])


def scalp_points(shaped: Shaped, hair: Hair) -> np.ndarray:
    """Points (P, 3) in the avatar frame where hair grows, more than 1.5 cm from its edges."""
    quads = shaped.body_quads
    both = [
        np.concatenate([points[np.unique(quads)], points[quads].mean(axis=1)])
        for points in (shaped.npos, shaped.vertices)
    ]
    inner = scalp_density(both[0], hair.style, hair.recede, grow=-1.5) > 0.9
    return blender_to_avatar(both[1][inner])


def project(points: np.ndarray, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) into every view: pixels (V, N, 2) and depth along the camera's z (V, N)."""
    to_camera = np.linalg.inv(cameras.camera_to_world)
    local = np.einsum("vij,nj->vni", to_camera[:, :3, :3], points) + to_camera[:, None, :3, 3]
    image = np.einsum("vij,vnj->vni", cameras.intrinsics, local)
    return image[..., :2] / image[..., 2:], local[..., 2]


def locate(points: np.ndarray, cameras: Cameras, depth: np.ndarray) -> Landmarks:
    """Project landmarks (68, 3) and test them against depth (V, H, W) in box units, 0 = nothing.

    A landmark on the outline may fall on a pixel beside it, so the farthest of 3 x 3 counts.
    """
    pixels, z = project(points, cameras)
    height, width = depth.shape[1:]
    visible = np.zeros(z.shape, bool)
    for view in range(len(depth)):
        x, y = np.floor(pixels[view]).astype(int).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        padded = np.pad(depth[view], 1)
        for dx in range(3):
            for dy in range(3):
                seen = padded[np.clip(y, 0, height - 1) + dy, np.clip(x, 0, width - 1) + dx]
                visible[view] |= inside & (seen > 0) & (z[view] <= seen + _NEAR)
    return Landmarks(points, pixels, visible)
