"""Pictures for the viewer: what a browser's camera sees of an avatar, coarse first.

Legend: H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rodin import cameras, export
from rodin.avatar import Avatar
from rodin.conventions import DEFAULT_FOV_DEGREES

MAX_ASPECT = 3.0  # width / height of a picture, and its inverse; a window beyond is stretched
_STRIP = 128  # rows of a picture between two looks at `stop`


@dataclass(frozen=True)
class Level:
    """How finely a picture is drawn."""

    height: int  # px; the width follows the window
    samples: int  # along a ray, at most: planes of few texels need fewer
    refined: bool = True  # by the model's refiner, where it has one


# Drawn while the camera moves, then two at rest: refining is slow, so it is done once.
LEVELS = (Level(128, 48, refined=False), Level(256, 192, refined=False), Level(512, 192))


@dataclass(frozen=True, eq=False)
class View:
    """Where a browser looks from."""

    camera_to_world: Tensor  # (4, 4), OpenCV, avatar frame
    aspect: float = 1.0  # width / height of its canvas
    fov: float = DEFAULT_FOV_DEGREES  # degrees, over the height


def camera_of(wxyz: Sequence[float] | np.ndarray, position: Sequence[float] | np.ndarray) -> Tensor:
    """Camera-to-world (4, 4) float32 of viser's camera: a unit quaternion (w, x, y, z), a place.

    viser's cameras are OpenCV's, as ours; with +y up its world is the avatar frame.
    """
    from viser import transforms

    matrix = torch.eye(4)
    matrix[:3, :3] = torch.from_numpy(transforms.SO3(np.asarray(wxyz, np.float64)).as_matrix())
    matrix[:3, 3] = torch.as_tensor(np.asarray(position, np.float64))
    return matrix


def draw(
    avatar: Avatar, view: View, level: Level, stop: Callable[[], bool] = lambda: False
) -> np.ndarray | None:
    """Picture (H, W, 3) uint8 over white; None when `stop()` said so between two parts of it."""
    height = level.height
    width = round(height * min(max(view.aspect, 1 / MAX_ASPECT), MAX_ASPECT))
    lens = cameras.intrinsics_from_fov(width, height, view.fov)
    refiner = avatar.refiner if level.refined else None
    parts = []
    strip_rows = _STRIP if refiner is None else height  # what is refined is one picture
    for top in range(0, height, strip_rows):
        if stop():
            return None
        strip = lens.clone()
        strip[1, 2] -= top
        rows = min(strip_rows, height - top)
        part = export.view(
            avatar.planes, avatar.decoder, view.camera_to_world, strip, rows, width,
            samples=avatar.samples(level.samples), occupancy=avatar.occupancy,
            refiner=refiner,
        )  # fmt: skip
        parts.append(part)
    return (torch.cat(parts) * 255).round().byte().numpy()
