"""Make-up on the picture of a face (`skin_map`): eye shadow, liner, blush."""

from __future__ import annotations

import numpy as np

from blender.hair_mask import smoothstep
from blender.spec_base import linear
from blender.spec_face import Skin

# The eye's opening on the template: x and heights of the upper and lower lid's edge, cm.
_LID_X = np.array([1.83, 2.1, 2.5, 3.0, 3.5, 4.0, 4.4])
_LID_TOP = np.array([-0.05, 0.15, 0.32, 0.44, 0.43, 0.30, 0.05])
_LID_LOW = np.array([-0.10, -0.25, -0.38, -0.46, -0.44, -0.29, 0.0])


def make_up(skin: Skin, tint: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Paint eye shadow, liner and blush into tint (H, W, 3), whose pixels lie at x (W,), y (H,)."""
    rows = (y > -1.4) & (y < 2.6)
    ax, ay = np.abs(x)[None], y[rows][:, None]
    top, low = (np.interp(np.abs(x), _LID_X, edge)[None] for edge in (_LID_TOP, _LID_LOW))
    across = smoothstep(1.7, 2.3, ax) * smoothstep(5.6, 4.5, ax)
    base = np.array(linear(skin.rgb))
    if skin.eye_shadow > 0:
        reach = np.interp(np.abs(x), [1.8, 3.0, 4.6, 5.4], [0.5, 0.95, 1.15, 0.7])[None]
        lid = across * smoothstep(1.0, 0.25, (ay - top) / reach) * (ay > top - 0.35)
        lid = np.maximum(lid, 0.35 * across * smoothstep(0.5, 0.1, low - ay) * (ay < low + 0.2))
        blend(tint, rows, lid * 0.80 * skin.eye_shadow, np.array(linear(skin.shadow_rgb)) / base)
    if skin.eyeliner > 0:
        wing = smoothstep(1.7, 2.0, ax) * smoothstep(5.1, 4.7, ax)
        thick = np.interp(np.abs(x), [1.9, 3.0, 4.4, 5.0], [0.06, 0.10, 0.17, 0.05])[None]
        rise = 0.35 * np.maximum(ax - 4.35, 0.0)
        line = wing * smoothstep(1.5, 0.7, np.abs(ay - top - rise - 0.05) / thick)
        under = 0.6 * wing * smoothstep(1.6, 0.6, np.abs(ay - low) / 0.09)
        blend(tint, rows, np.maximum(line, under) * 0.9 * skin.eyeliner, 0.03 / base)
    if skin.blush > 0:
        rows = (y > -7.0) & (y < 1.0)
        ay = y[rows][:, None]
        apple = np.exp(-(((np.abs(x)[None] - 4.3) / 1.7) ** 2) - ((ay + 2.7) / 1.3) ** 2)
        blend(tint, rows, apple * 0.40 * skin.blush, np.array([1.02, 0.55, 0.58]))


def blend(tint: np.ndarray, rows: np.ndarray, weight: np.ndarray, towards: np.ndarray) -> None:
    """Move the chosen rows of tint (H, W, 3) by weight (R, W), 0 .. 1, towards a colour (3,)."""
    part = tint[rows]
    tint[rows] = part + np.clip(weight, 0, 1)[..., None] * (towards - part)
