"""Frames, units and plane order: the one definition that every package shares (numpy only).

Avatar frame: right-handed, +x to the right of a viewer who faces the avatar, +y up, +z out of the
face. Everything visible of an avatar lies inside the unit box [-1, 1]^3.
Cameras: OpenCV camera-to-world 4x4 in the avatar frame (x right, y down, z forward), intrinsics 3x3
in pixels, the centre of pixel (row i, column j) at (j + 0.5, i + 0.5).
Depth: box units along the camera z axis, 0 where there is nothing.
Source: Rodin (arXiv 2212.06135) section 3; the numbers below are this project's own.
"""

from __future__ import annotations

import numpy as np

# Half the edge of the unit box in metres: 1 box unit is 0.25 m.
BOX_HALF_SIZE_M = 0.25
# How far the box centre lies below the midpoint of the eyes, in metres.
BOX_CENTRE_BELOW_EYES_M = 0.05

# Default camera: vertical field of view, degrees; distance to the box centre, box units (1.2 m).
DEFAULT_FOV_DEGREES = 24.0
DEFAULT_RADIUS = 4.8
# From here shoulders stay in the picture whichever way a bust is turned: for films and sheets.
WHOLE_RADIUS = 5.6

# Planes are stored (B, 3, C, H, W) in this order; each has (row axis, column axis) of (x, y, z).
# The three planes see three different axis pairs (EG3D's published code repeats one: a known trap).
PLANE_NAMES = ("uv", "wu", "vw")
PLANE_AXES = ((1, 0), (2, 0), (1, 2))


def texel_centres(count: int) -> np.ndarray:
    """Coordinates (count,) float64 of the texels along one axis: -1 + (2i + 1) / count."""
    if count < 1:
        raise ValueError(f"count is {count}; a plane has at least 1 texel a side: pass count >= 1")
    return -1.0 + (2.0 * np.arange(count) + 1.0) / count


# Avatar axes from Blender's: x stays, y is Blender's z, z is Blender's -y.
_AVATAR_FROM_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_OFFSET = np.array([0.0, BOX_CENTRE_BELOW_EYES_M, 0.0])


def blender_to_avatar(points: np.ndarray) -> np.ndarray:
    """Blender world (..., 3) in metres (z up, facing -y, eye midpoint at 0) to the avatar frame."""
    points = np.asarray(points, dtype=np.float64) @ _AVATAR_FROM_BLENDER.T
    return (points + _OFFSET) / BOX_HALF_SIZE_M


def avatar_to_blender(points: np.ndarray) -> np.ndarray:
    """Inverse of `blender_to_avatar`: box units (..., 3) to Blender world metres."""
    points = np.asarray(points, dtype=np.float64) * BOX_HALF_SIZE_M
    return (points - _OFFSET) @ _AVATAR_FROM_BLENDER


def blender_matrix_from_camera(camera_to_world: np.ndarray) -> np.ndarray:
    """OpenCV camera-to-world (..., 4, 4) in the avatar frame to Blender's `matrix_world` in metres.

    Blender's camera looks along its -z with y up, so the camera's y and z axes are flipped.
    """
    camera_to_world = np.asarray(camera_to_world, dtype=np.float64)
    matrix = np.zeros_like(camera_to_world)
    matrix[..., :3, :3] = _AVATAR_FROM_BLENDER.T @ camera_to_world[..., :3, :3] * (1.0, -1.0, -1.0)
    matrix[..., :3, 3] = avatar_to_blender(camera_to_world[..., :3, 3])
    matrix[..., 3, 3] = 1.0
    return matrix
