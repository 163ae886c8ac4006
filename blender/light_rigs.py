"""Rigs of light as numbers: an even one for fitting, others for variety (no Blender needed)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from blender.spec_base import Rgb
from blender.streams import generator

Light = Literal["even", "soft", "studio", "window", "rim", "sunny", "evening", "varied"]

_WHITE: Rgb = (1.0, 1.0, 1.0)
_WARM: Rgb = (1.0, 0.80, 0.60)
_COOL: Rgb = (0.78, 0.88, 1.0)


@dataclass(frozen=True)
class Lamp:
    """A disk that shines at the head from 1.5 m."""

    watts: float
    azimuth: float  # degrees, 0 in front, positive to +x
    elevation: float  # degrees
    size: float  # m, diameter: larger is softer
    rgb: Rgb = _WHITE  # linear


@dataclass(frozen=True)
class Rig:
    """A sky and some lamps."""

    sky: float  # strength overhead
    floor: float  # and from below, as a share of it
    lamps: tuple[Lamp, ...]
    rgb: Rgb = _WHITE  # of the sky, linear


RIGS: dict[Light, Rig] = {
    "even": Rig(0.62, 0.45, (
        Lamp(17, -38, 32, 0.55), Lamp(7, 48, 8, 0.7), Lamp(13, 150, 38, 0.5),
        Lamp(8, -140, 25, 0.5),
    )),
    "soft": Rig(0.86, 0.75, (Lamp(6, 0, 40, 1.2),)),
    "studio": Rig(0.25, 0.4, (
        Lamp(22, -42, 35, 0.5), Lamp(7, 55, 5, 0.9), Lamp(16, 165, 45, 0.35),
    )),
    "window": Rig(0.30, 0.5, (Lamp(38, -80, 15, 1.1, _COOL), Lamp(5, 70, 5, 0.8, _WARM))),
    "rim": Rig(0.28, 0.5, (
        Lamp(12, -10, 25, 0.8), Lamp(20, 135, 30, 0.4, _COOL), Lamp(20, -135, 30, 0.4, _WARM),
    )),
    "sunny": Rig(0.45, 0.55, (Lamp(34, 35, 48, 0.12, (1.0, 0.93, 0.82)),), (0.82, 0.91, 1.0)),
    "evening": Rig(0.34, 0.6, (
        Lamp(32, -58, 10, 0.5, (1.0, 0.66, 0.40)), Lamp(9, 130, 20, 0.8, _COOL),
    ), (0.80, 0.82, 1.0)),
}  # fmt: skip


def rig_of(light: Light, seed: int) -> Rig:
    """The rig called `light`; 'varied' is one of them, turned and tinted by `seed`."""
    if light != "varied":
        return RIGS[light]
    rng = generator(seed, "light")
    rig = RIGS[list(RIGS)[int(rng.integers(len(RIGS)))]]
    turn = rng.normal(0.0, 25.0)
    tint = np.clip(1.0 + rng.normal(0.0, 0.06, 3), 0.8, 1.2)
    lamps = tuple(
        replace(
            lamp,
            watts=lamp.watts * float(rng.uniform(0.75, 1.25)),
            azimuth=lamp.azimuth + turn + rng.normal(0.0, 8.0),
            elevation=float(np.clip(lamp.elevation + rng.normal(0.0, 8.0), -10.0, 75.0)),
            rgb=tuple((np.array(lamp.rgb) * tint).tolist()),
        )
        for lamp in rig.lamps
    )
    return replace(rig, sky=rig.sky * float(rng.uniform(0.85, 1.15)), lamps=lamps)
