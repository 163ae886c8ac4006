"""Where garments end, as level sets of the neutral template position (numpy only).

`npos` (N, 3) is in centimetres: x right, y up, z out of the face, origin at eye height. Levels
are centimetres too, positive on the fabric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 0.4  # cm, z of the shoulder seam


@dataclass(frozen=True)
class Cut:
    """An opening: a tilted plane rounded at the sides of the neck, then what is cut besides."""

    back: float  # cm, height of the plane at the nape (z = -3)
    front: float  # cm, and at the throat (z = 7.5)
    width: float = 8.4  # cm, half the widest opening
    bow: float = 0.0  # 1/cm, how far the edge in front curves up to the sides
    corner: float = 6.0  # cm, radius of the opening's corners
    point: float | None = None  # cm, how deep a V reaches
    slope: float = 1.65  # of the V's sides
    gap: float = 0.0  # cm, half the width of a front that stays open all the way down
    arms: str = "sleeves"  # or "tank", "straps", "off": what is bare of the shoulders


CUTS: dict[str, Cut] = {
    "tshirt": Cut(-13.9, -17.9, bow=0.055),
    "scoop": Cut(-13.6, -20.6, width=9.6, corner=7.5, bow=0.05),
    "vneck": Cut(-13.6, -14.6, point=-23.6),
    "boatneck": Cut(-14.8, -17.2, width=15.0, corner=8.0),
    "sweater": Cut(-13.0, -16.8, bow=0.055),
    "turtleneck": Cut(-11.9, -12.9, width=7.4),
    "tank": Cut(-16.2, -21.2, width=8.6, corner=6.5, arms="tank", bow=0.05),
    "camisole": Cut(-20.4, -19.2, width=40.0, corner=1.0, arms="straps"),
    "offshoulder": Cut(-18.8, -19.7, width=40.0, corner=1.0, arms="off"),
    "shirt": Cut(-12.0, -14.4, width=7.4, point=-20.5, slope=1.9),
    "dress_shirt": Cut(-11.9, -14.2, width=7.4),
    "polo": Cut(-12.1, -14.9, width=7.6, point=-20.5, slope=2.6),
    "hoodie": Cut(-13.5, -18.2, width=8.6, bow=0.05),
    "denim_jacket": Cut(-12.2, -14.6, width=8.2, point=-31.0, slope=3.2, gap=2.2),
    "bomber": Cut(-11.9, -13.6, width=8.0, point=-22.6, slope=2.2),
    "cardigan": Cut(-12.6, -14.2, width=8.6, point=-33.0, slope=2.35, gap=0.6),
    "suit": Cut(-12.2, -13.8, width=8.4, point=-31.5, slope=2.15),
}


def neckline(npos: np.ndarray, garment: str) -> np.ndarray:
    """Level (N,) of the cut `garment`, about the distance from its edge."""
    cut = CUTS[garment]
    x, y, z = npos.T
    side = np.abs(x)
    t = np.clip((z + 3.0) / 10.5, -0.3, 1.3)
    bow = cut.bow * np.minimum(side, 8.0) ** 2 * np.clip(t, 0.0, 1.0)
    plane = (cut.back + (cut.front - cut.back) * t + bow - y) * 10.5
    plane /= np.hypot(10.5, cut.front - cut.back)
    down = np.maximum(plane + cut.corner, 0.0)
    aside = np.maximum(side - (cut.width - cut.corner), 0.0)
    out = np.hypot(down, aside) - cut.corner
    if cut.point is not None:
        v = cut.point + cut.slope * (side - cut.gap) - y
        front = 5.0 * np.maximum(RIDGE + 1.5 - z, 0.0)
        out = np.minimum(out, v / np.hypot(1.0, cut.slope) + front)
    return np.minimum(out, _armhole(npos, cut)) if cut.arms != "sleeves" else out


def _armhole(npos: np.ndarray, cut: Cut) -> np.ndarray:
    """Level (N,) of the cloth at the arms of garments that leave the shoulders bare."""
    x, y, z = npos.T
    side = np.abs(x)
    if cut.arms == "tank":
        drop = np.maximum(-16.0 - y, 0.0)
        return 11.6 + 0.035 * drop**2 - side
    if cut.arms == "straps":
        # Two shallow cups in front; lower under the arms.
        cups = 1.2 * np.exp(-(((side - 6.5) / 3.6) ** 2)) * (z > RIDGE)
        low = 0.045 * np.maximum(side - 8.0, 0.0) ** 2
        return np.minimum(-20.9 + cups - low - y, 15.2 - side)
    along = ((side - 16.0) - (y + 16.0)) * np.sqrt(0.5)
    return along - 4.2 + 2.5 * np.maximum(16.0 - side, 0.0)
