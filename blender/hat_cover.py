"""The room that headwear leaves for hair: what hair must lie flat under (numpy only)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender.spec_accessories import Accessories


@dataclass(frozen=True)
class HatCover:
    """Hair inside `level` > 0 stays within `gap` of the skin; the headwear starts there."""

    level: Callable[[np.ndarray], np.ndarray]  # template cm (..., 3) -> signed cm (...,)
    gap: float  # m between the skin and the headwear's inner face


@dataclass(frozen=True)
class Seat:
    """Where headwear sits: everything above a plane that leans back, in template cm.

    Its edge is at height y = `front` over the forehead (z = 14.5) and falls by `slope` per cm to
    the back; `roll` degrees lower the side at negative x. `band` is the width of what goes round
    the head only, 0 for what covers the crown.
    """

    front: float  # cm
    slope: float
    roll: float = 0.0  # degrees
    band: float = 0.0  # cm
    gap: float = 0.0035  # m

    def normal(self) -> np.ndarray:
        """The way up (3,) out of the plane of the edge."""
        up = np.array([-np.tan(np.radians(self.roll)), 1.0, -self.slope])
        return up / np.linalg.norm(up)

    def level(self, t: np.ndarray) -> np.ndarray:
        """Signed distance (...,) above the edge of points (..., 3), cm."""
        above = (t - np.array([0.0, self.front, 14.5])) @ self.normal()
        return above if not self.band else np.minimum(above, self.band - above)


SEATS: dict[str, Seat] = {
    "beanie": Seat(5.3, 0.40),
    "baseball cap": Seat(4.9, 0.29),
    "bucket hat": Seat(4.6, 0.26),
    "fedora": Seat(4.7, 0.24),
    "straw hat": Seat(5.2, 0.26),
    "flat cap": Seat(4.8, 0.29),
    "beret": Seat(6.6, 0.42, roll=8.0),
    "headband": Seat(5.2, 0.36, band=3.4),
    "bandana": Seat(5.4, 0.40),
    "turban": Seat(5.6, 0.43),
}  # fmt: skip
HEADPHONES_GAP = 0.010  # m


def _under_band(t: np.ndarray) -> np.ndarray:
    """Positive under the band and the cushions of headphones."""
    arch = np.minimum(1.4 - np.abs(t[..., 2] - 4.6), t[..., 1] - 2.0)
    ears = 4.3 - np.hypot(t[..., 1] + 1.9, t[..., 2] - 5.0)
    return np.where(np.abs(t[..., 0]) > 4.0, np.maximum(arch, ears), arch)


def hat_cover(worn: Accessories) -> HatCover | None:
    """The cover of what is worn on the head; None where hair is free."""
    if worn.headwear == "none":
        return None
    if worn.headwear == "hijab":  # no hair shows anywhere
        return HatCover(lambda t: np.full(t.shape[:-1], 5.0), 0.0025)
    if worn.headwear == "headphones":
        return HatCover(_under_band, HEADPHONES_GAP)
    seat = SEATS[worn.headwear]
    return HatCover(seat.level, seat.gap)
