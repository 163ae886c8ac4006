"""Posed RGBA views of one avatar: what the fitting takes in, and the checks it must pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rodin import cameras

MIN_VIEWS = 4


class ViewsError(ValueError):
    """Views that no tri-plane can be fitted to; the message names the view and the fix."""


@dataclass(frozen=True)
class Views:
    """V views of one avatar, all H x W; view 0 is the frontal portrait.

    rgba uint8 (V, H, W, 4): sRGB, straight alpha. camera_to_world (V, 4, 4) and intrinsics
    (V, 3, 3): see `conventions`. depth float32 (V, H, W) along camera z in box units with 0 where
    nothing is, or None.
    """

    rgba: np.ndarray
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rgba)

    def check(self) -> None:
        """Raise ViewsError or cameras.CameraError unless these views can be fitted."""
        rgba = self.rgba
        if not isinstance(rgba, np.ndarray) or rgba.ndim != 4 or rgba.shape[-1] != 4:
            shapes = {np.shape(view) for view in rgba}
            raise ViewsError(
                f"rgba has the shapes {sorted(shapes)}; pass one uint8 array (V, H, W, 4), with"
                " views of one size"
            )
        count, height, width = rgba.shape[:3]
        if rgba.dtype != np.uint8:
            raise ViewsError(f"rgba is {rgba.dtype}; pass uint8 in 0..255")
        if count < MIN_VIEWS:
            raise ViewsError(f"{count} views; render at least {MIN_VIEWS} of an avatar")
        expected = {
            "camera_to_world": (count, 4, 4),
            "intrinsics": (count, 3, 3),
            "depth": (count, height, width),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None and name == "depth":
                continue
            if np.shape(value) != shape:
                raise ViewsError(f"{name} is {np.shape(value)} for {count} views; pass {shape}")
            if not np.isfinite(value).all():
                bad = int(np.argwhere(~np.isfinite(value))[0][0])
                raise ViewsError(f"{name} of view {bad} holds NaN or infinity; render it again")
        visible = rgba[..., 3].reshape(count, -1).max(1)
        if not visible.all():
            bad = int(np.argmin(visible))
            raise ViewsError(f"view {bad} is all transparent; aim its camera at the avatar")
        cameras.check(*self.cameras(), height, width)

    def cameras(self) -> tuple[Tensor, Tensor]:
        """camera_to_world (V, 4, 4) and intrinsics (V, 3, 3), float32."""
        return (
            torch.as_tensor(np.asarray(self.camera_to_world, dtype=np.float32)),
            torch.as_tensor(np.asarray(self.intrinsics, dtype=np.float32)),
        )

    def select(self, indices: list[int]) -> Views:
        """The views with these indices, in this order."""
        depth = None if self.depth is None else self.depth[indices]
        return Views(
            self.rgba[indices], self.camera_to_world[indices], self.intrinsics[indices], depth
        )

    def split(self, held_out: int) -> tuple[Views, Views]:
        """(fitted, held out): `held_out` views spread evenly in azimuth, never the portrait.

        Every k-th view by index would not do: cameras from a low-discrepancy sequence repeat their
        direction nearly every 8th, 13th or 21st view.
        Raises ViewsError when fewer than MIN_VIEWS would be left to fit.
        """
        count = len(self)
        if count - held_out < MIN_VIEWS:
            raise ViewsError(
                f"holding out {held_out} of {count} views leaves fewer than {MIN_VIEWS};"
                " render more views or hold out fewer"
            )
        centres = np.asarray(self.camera_to_world, dtype=np.float64)[1:, :3, 3]
        around = 1 + np.argsort(np.arctan2(centres[:, 0], centres[:, 2]), kind="stable")
        places = [((2 * i + 1) * (count - 1)) // (2 * held_out) for i in range(held_out)]
        chosen = {int(around[place]) for place in places}
        kept = [i for i in range(count) if i not in chosen]
        return self.select(kept), self.select(sorted(chosen))
