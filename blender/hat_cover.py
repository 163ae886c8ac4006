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


def hat_cover(worn: Accessories) -> HatCover | None:
    """The cover of what is worn on the head; None where hair is free."""
    return None
