"""What each garment is sewn of besides its shell, and of what stuff."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from blender.clothing_collars import (
    edge_band,
    folded_collar,
    hood,
    lapels,
    rolled_neck,
    ruffle,
    stand_collar,
)
from blender.clothing_mesh import Layer
from blender.clothing_parts import Part
from blender.clothing_trims import (
    drawstrings,
    flap,
    placket,
    row_of_buttons,
    short_placket,
    strap,
    tie,
    zip_fastener,
)

# The weave or knit of each layer's cloth.
RELIEF: dict[str, str] = {
    "sweater": "knit", "turtleneck": "rib", "cardigan": "knit", "denim_jacket": "twill",
    "suit": "wool", "bomber": "wool", "shirt": "wool", "dress_shirt": "wool",
}  # fmt: skip


def _shirt(layer: Layer, rng: np.random.Generator) -> list[Part]:
    collar = folded_collar(layer, from_y=-15.4, back=4.0, front=6.6, spread=2.4, stand=0.0065)
    pieces = placket(layer, -20.4, (-21.2, -24.6, -28.0), "horn")
    return [collar, *pieces]


def _dress_shirt(layer: Layer, rng: np.random.Generator) -> list[Part]:
    collar = folded_collar(layer, from_y=-40.0, back=3.8, front=6.4, spread=2.6, stand=0.0060)
    return [collar, *placket(layer, -16.5, (), "horn"), *tie(layer)]


def _polo(layer: Layer, rng: np.random.Generator) -> list[Part]:
    collar = folded_collar(
        layer, from_y=-15.8, back=3.6, front=5.2, spread=1.6, stand=0.0055, stuff="rib"
    )
    return [collar, *short_placket(layer, -20.4, -27.0, "horn")]


def _denim(layer: Layer, rng: np.random.Generator) -> list[Part]:
    collar = folded_collar(layer, from_y=-16.6, back=5.2, front=7.0, spread=2.2, stand=0.0075)
    band = edge_band(layer, 2.6, 0.0026, "cloth")
    out = [band, collar, *row_of_buttons(layer, 1.3, (-19.6, -24.4), "metal")]
    for x in (-10.6, 10.6):
        out += flap(layer, x, -21.2, (8.0, 3.6))
    return out


def _cardigan(layer: Layer, rng: np.random.Generator) -> list[Part]:
    band = edge_band(layer, 2.6, 0.0042, "rib")
    return [band, *row_of_buttons(layer, 1.3, (-21.5, -25.0, -28.5), "horn")]


def _hoodie(layer: Layer, rng: np.random.Generator) -> list[Part]:
    return [hood(layer, rng), *drawstrings(layer, rng)]


def _bomber(layer: Layer, rng: np.random.Generator) -> list[Part]:
    collar = stand_collar(layer, from_y=-17.5, width=4.6)
    return [edge_band(layer, 0.9, 0.0020, "metal"), collar, *zip_fastener(layer, -22.4)]


PARTS: dict[str, Callable[[Layer, np.random.Generator], list[Part]]] = {
    "turtleneck": lambda layer, rng: [rolled_neck(layer, 4.2)],
    "camisole": lambda layer, rng: strap(layer, 6.9, -19.9, 0.9),
    "offshoulder": lambda layer, rng: [ruffle(layer, 5.5)],
    "shirt": _shirt,
    "dress_shirt": _dress_shirt,
    "polo": _polo,
    "hoodie": _hoodie,
    "denim_jacket": _denim,
    "bomber": _bomber,
    "cardigan": _cardigan,
    "suit": lambda layer, rng: lapels(layer, gorge=-18.6, width=7.6, foot=1.2),
}
