"""From the world of other people's cameras into the unit box: up, front, scale, offset.

p_box = scale * R p + offset, R a rotation. Cameras are OpenCV camera-to-world (V, 4, 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rodin.views import ViewsError

Up = Literal["auto", "x", "-x", "y", "-y", "z", "-z"]
# Rotations that turn each axis up to +y. Blender's people (up z, face -y) then look along +z.
_TURNS: dict[str, list[list[float]]] = {
    "y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-y": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "z": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "-z": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "x": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    "-x": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
}


@dataclass(frozen=True)
class Placement:
    """p_box = scale * rotation @ p + offset; `text` says in words how it was found."""

    scale: float
    rotation: np.ndarray  # (3, 3)
    offset: np.ndarray  # (3,) box units
    text: str = ""

    def cameras(self, camera_to_world: np.ndarray) -> np.ndarray:
        """(V, 4, 4) in the world -> (V, 4, 4) in the box."""
        out = np.array(camera_to_world, np.float64)
        out[:, :3, :3] = self.rotation @ out[:, :3, :3]
        out[:, :3, 3] = self.scale * out[:, :3, 3] @ self.rotation.T + self.offset
        return out


def look_at_point(camera_to_world: np.ndarray) -> np.ndarray:
    """The point (3,) nearest to all optical axes (least squares), in front of every camera.

    Raises ViewsError for parallel axes, and for cameras that look away from the point.
    """
    centres, forward = camera_to_world[:, :3, 3], camera_to_world[:, :3, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    system = across.sum(0)
    if np.linalg.cond(system) > 1e6:
        raise ViewsError(
            "all cameras look the same way, so they have no common look-at point; give --scale and"
            " --offset"
        )
    point = np.linalg.solve(system, (across @ centres[:, :, None]).sum(0)[:, 0])
    ahead = ((point - centres) * forward).sum(1)
    if (ahead <= 0).all():
        raise ViewsError(
            "all cameras look away from what they surround; transform_matrix must be"
            " camera-to-world with OpenGL axes (x right, y up, z back); for OpenCV axes pass"
            " --convention opencv"
        )
    return point


def place(
    camera_to_world: np.ndarray,
    half_angles: np.ndarray,
    *,
    scale: float | None = None,
    offset: tuple[float, float, float] | None = None,
    up: Up = "auto",
    front: int | None = None,
    box: tuple[float, np.ndarray] | None = None,
) -> Placement:
    """How the world of cameras (V, 4, 4) goes into the unit box.

    half_angles (V,) are tangents of half the smaller field of view. `up` is the world axis that
    becomes +y (auto: the one nearest to the cameras' mean up). `front` is the view that is to stand
    before the face. Scale and offset: as given; else as the file says (`box`, in the file's axes);
    else the cameras' common look-at point becomes the centre, and the box as large as what the
    median camera sees there. Raises ViewsError for cameras without such a point.
    """
    said = []
    if up == "auto":
        mean = -camera_to_world[:, :3, 1].mean(0)
        axis = int(np.abs(mean).argmax())
        up = ("-" if mean[axis] < 0 else "") + "xyz"[axis]  # type: ignore[assignment]
        said.append(f"up is {up}, as most cameras have it")
    rotation = np.array(_TURNS[up], np.float64)
    if scale is None and offset is None and box is not None:
        # The file's offset is in its own axes.
        said.append("scale and offset are the file's own (instant-ngp)")
        middle, size = -box[1] / box[0], box[0]
    elif scale is not None and offset is not None:
        said.append("scale and offset as given")
        middle, size = -rotation.T @ np.array(offset) / scale, scale
    else:
        point = look_at_point(camera_to_world)
        ahead = ((point - camera_to_world[:, :3, 3]) * camera_to_world[:, :3, 2]).sum(1)
        size = scale or 1 / float(np.median(ahead * half_angles))
        middle = point if offset is None else -rotation.T @ np.array(offset) / size
        said.append(
            f"the box centre is ({point[0]:.3g}, {point[1]:.3g}, {point[2]:.3g}), which all cameras"
            " look at, and the box as wide as the median camera sees there"
        )
    if front is not None:
        away = rotation @ (camera_to_world[front, :3, 3] - middle)
        angle = np.arctan2(away[0], away[2])
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ rotation
        said.append(
            f"turned by {np.degrees(-angle):.0f} degrees so that the chosen view is frontal"
        )
    said.append(f"a unit of the file is {size:.4g} box units")
    return Placement(size, rotation, -size * rotation @ middle, "; ".join(said))
