"""Sampling the shape of a face: types that belong together, spreads, what sex and age add.

Independent noise on 120 shapes averages out: everybody looks alike. So a face first takes one type
from each group (head, nose, eyes, mouth, jaw, brow), which moves several shapes at once, and then
noise on every shape.
"""

from __future__ import annotations

import numpy as np

from blender.spec_base import Weights, pick
from blender.streams import generator
from blender.targets import SIDED_STEMS, WHOLE_STEMS

Shape = dict[str, float]

# group -> type -> (chance, shapes at full strength)
_TYPES: dict[str, dict[str, tuple[float, Shape]]] = {
    "head": {
        "plain": (2.0, {}),
        "oval": (2.0, {"head-oval": 0.75, "cheek-bones-incr": 0.15}),
        "round": (1.6, {"head-round": 0.70, "cheek-volume-incr": 0.40, "chin-height-incr": -0.20}),
        "square": (1.4, {"head-oval": -0.50, "chin-width-incr": 0.20, "chin-bones-incr": 0.25}),
        "long": (1.4, {"head-round": -0.65, "chin-height-incr": 0.22, "cheek-volume-incr": -0.30}),
        "heart": (1.4, {"head-invertedtriangular": 0.75, "chin-width-incr": -0.35,
                        "cheek-bones-incr": 0.35}),
        "pear": (0.6, {"head-invertedtriangular": -0.35, "cheek-volume-incr": 0.30}),
    },
    "nose": {
        "plain": (2.0, {}),
        "straight": (1.2, {"nose-greek-incr": 0.55, "nose-width2-incr": -0.20}),
        "aquiline": (1.2, {"nose-hump-incr": 0.75, "nose-point-up": -0.18,
                           "nose-scale-depth-incr": 0.30}),
        "button": (1.3, {"nose-scale-vert-incr": -0.35, "nose-point-up": 0.45,
                         "nose-curve-convex": -0.45, "nose-volume-incr": -0.20}),
        "broad": (1.2, {"nose-scale-horiz-incr": 0.55, "nose-nostrils-width-incr": 0.35,
                        "nose-width1-incr": 0.35, "nose-flaring-incr": 0.30}),
        "narrow": (1.2, {"nose-scale-horiz-incr": -0.45, "nose-width2-incr": -0.45,
                         "nose-scale-vert-incr": 0.30, "nose-point-width-incr": -0.40}),
        "bulbous": (1.0, {"nose-point-width-incr": 0.75, "nose-volume-incr": 0.45,
                          "nose-width3-incr": 0.35}),
        "large": (0.9, {"nose-scale-vert-incr": 0.45, "nose-scale-depth-incr": 0.55,
                        "nose-width2-incr": 0.30, "nose-volume-incr": 0.20}),
    },
    "eyes": {
        "plain": (2.0, {}),
        "almond": (1.4, {"eye-corner1-up": -0.15, "eye-corner2-up": 0.45,
                         "eye-height2-incr": -0.10}),
        "round": (1.2, {"eye-height2-incr": 0.45, "eye-height1-incr": 0.35,
                        "eye-scale-incr": 0.20}),
        "drooping": (1.0, {"eye-corner2-up": -0.55, "eye-eyefold-angle-up": -0.35}),
        "hooded": (1.0, {"eye-eyefold-up": -0.40, "eye-eyefold-convex": 0.45}),
        "deep": (1.0, {"eye-eyefold-convex": -0.45, "eye-push1-out": -0.25,
                       "eyebrows-trans-forward": 0.25}),
        "small": (0.8, {"eye-scale-incr": -0.40, "eye-height3-incr": -0.20}),
        "large": (0.9, {"eye-scale-incr": 0.55, "eye-height3-incr": 0.30}),
    },
    "mouth": {
        "plain": (2.0, {}),
        "full": (1.4, {"mouth-upperlip-volume-incr": 0.50, "mouth-lowerlip-volume-incr": 0.50,
                       "mouth-upperlip-height-incr": 0.35, "mouth-lowerlip-height-incr": 0.30}),
        "thin": (1.2, {"mouth-upperlip-height-incr": -0.35, "mouth-lowerlip-height-incr": -0.25,
                       "mouth-upperlip-volume-incr": -0.40}),
        "wide": (1.2, {"mouth-scale-horiz-incr": 0.55, "mouth-upperlip-width-incr": 0.30}),
        "small": (1.0, {"mouth-scale-horiz-incr": -0.50, "mouth-lowerlip-width-incr": -0.25}),
        "bow": (1.0, {"mouth-cupidsbow-incr": 0.75, "mouth-upperlip-middle-up": 0.30,
                      "mouth-philtrum-volume-incr": 0.35}),
        "low bow": (0.6, {"mouth-lowerlip-volume-incr": 0.60, "mouth-upperlip-volume-incr": -0.25,
                          "mouth-trans-up": -0.10}),
    },
    "jaw": {
        "plain": (2.0, {}),
        "strong": (1.1, {"chin-prominent-incr": 0.35, "chin-bones-incr": 0.40,
                         "chin-width-incr": 0.30}),
        "weak": (0.9, {"chin-prominent-incr": -0.40, "chin-jaw-drop-incr": 0.25,
                       "chin-prognathism-incr": -0.12}),
        "pointed": (1.1, {"chin-width-incr": -0.55, "chin-height-incr": 0.15}),
        "broad": (0.9, {"chin-width-incr": 0.45, "chin-height-incr": -0.10}),
    },
    "brow": {
        "plain": (2.0, {}),
        "high": (1.1, {"eyebrows-trans-up": 0.50, "forehead-trans-forward": 0.12}),
        "low": (0.8, {"eyebrows-trans-up": -0.18, "eyebrows-trans-forward": 0.15}),
        "flat": (1.0, {"eyebrows-angle-up": 0.30}),
        "sloping": (0.8, {"forehead-trans-forward": -0.30, "forehead-temple-incr": -0.25}),
    },
}  # fmt: skip

# Standard deviations of the noise by the first part of a name.
_SPREADS = {
    "asym": 0.10, "cheek": 0.20, "chin": 0.20, "ear": 0.26, "eye": 0.18, "eyebrows": 0.14,
    "forehead": 0.14, "head": 0.14, "mouth": 0.20, "neck": 0.12, "nose": 0.20,
}  # fmt: skip
# Those that go wrong first: their ends move centimetres or tear.
_GENTLE = {
    "forehead-nubian-incr": 0.06, "forehead-scale-vert-incr": 0.08, "neck-scale-vert-incr": 0.08,
    "eye-trans-up": 0.10, "eye-push1-out": 0.08, "eye-push2-out": 0.08, "eye-eyefold-up": 0.10,
    "ear-flap-incr": 0.12, "ear-wing-incr": 0.16, "ear-trans-up": 0.10, "head-age-incr": 0.06,
    "eye-bag-incr": 0.12, "nose-compression-uncompress": 0.08, "mouth-scale-vert-incr": 0.10,
    "mouth-trans-up": 0.10, "nose-trans-up": 0.12, "chin-prognathism-incr": 0.10,
    "mouth-laugh-lines-out": 0.10, "eye-epicanthus-out": 0.12, "nose-septumangle-incr": 0.14,
    "mouth-angles-up": 0.14, "chin-height-incr": 0.14, "nose-point-up": 0.14,
    "mouth-lowerlip-middle-up": 0.10, "mouth-upperlip-middle-up": 0.10, "mouth-dimples-out": 0.12,
    "mouth-lowerlip-ext-up": 0.10, "mouth-upperlip-ext-up": 0.10, "head-scale-vert-incr": 0.12,
    "eye-eyefold-convex": 0.12, "eye-corner1-up": 0.16,
}  # fmt: skip
# Where everybody's face stands: brows that do not frown (angle 'up' lowers their outer ends), lids
# open wide enough to show the iris, lips that do not sulk.
_REST: Shape = {
    "eyebrows-angle-up": 0.36, "eyebrows-trans-up": 0.08, "mouth-angles-up": 0.18,
    "eye-height2-incr": 0.30, "eye-height1-incr": 0.20, "eye-height3-incr": 0.20,
}  # fmt: skip
# Lower limits tighter than -_LIMIT: the negative ends of these look angry or torn.
_FLOORS = {
    "eyebrows-angle-up": -0.08, "eyebrows-trans-up": -0.22, "mouth-angles-up": -0.25,
    "eye-height2-incr": -0.25, "nose-point-up": -0.25, "eye-epicanthus-out": -0.35,
}  # fmt: skip
_LIMIT = 0.85
# Sex hardly shows in MakeHuman's faces: added for a woman, taken away for a man.
_FEMININE: Shape = {
    "chin-width-incr": -0.32, "chin-bones-incr": -0.32, "chin-height-incr": -0.14,
    "chin-jaw-drop-incr": -0.20, "chin-prominent-incr": -0.16, "eye-scale-incr": 0.26,
    "eye-height2-incr": 0.12, "mouth-lowerlip-volume-incr": 0.18, "mouth-scale-horiz-incr": -0.06,
    "mouth-upperlip-volume-incr": 0.18, "mouth-upperlip-height-incr": 0.12,
    "eyebrows-trans-forward": -0.26, "eyebrows-trans-up": 0.16, "neck-scale-horiz-incr": -0.28,
    "neck-scale-depth-incr": -0.14, "nose-scale-horiz-incr": -0.20, "nose-hump-incr": -0.20,
    "nose-scale-vert-incr": -0.18, "nose-point-up": 0.10, "nose-volume-incr": -0.15,
    "forehead-nubian-incr": 0.04, "cheek-volume-incr": 0.08, "cheek-bones-incr": 0.10,
    "ear-scale-incr": -0.15, "head-scale-horiz-incr": -0.06,
}  # fmt: skip
# Added in proportion to the years past 40, full at 85: what gravity and time do.
_AGED: Shape = {
    "head-age-incr": 0.70, "eye-bag-incr": 0.45, "eye-eyefold-up": -0.20, "eye-corner2-up": -0.20,
    "cheek-volume-incr": -0.25, "cheek-trans-up": -0.35, "mouth-upperlip-volume-incr": -0.45,
    "mouth-lowerlip-volume-incr": -0.35, "mouth-upperlip-height-incr": -0.25,
    "mouth-lowerlip-height-incr": -0.15, "mouth-angles-up": -0.04, "ear-lobe-incr": 0.45,
    "ear-scale-incr": 0.30, "nose-point-up": -0.15, "nose-volume-incr": 0.20,
    "chin-jaw-drop-incr": 0.30, "mouth-laugh-lines-out": -0.30, "eye-height2-incr": -0.12,
}  # fmt: skip


def _types(rng: np.random.Generator) -> Shape:
    """The shapes of one type from every group, each at a strength of 0.5 to 1.1, added up."""
    total: Shape = {}
    for group in _TYPES.values():
        name = pick(rng, {key: chance for key, (chance, _) in group.items()})
        strength = float(rng.uniform(0.5, 1.1))
        for stem, weight in group[name][1].items():
            total[stem] = total.get(stem, 0.0) + weight * strength
    return total


def sample_targets(seed: int, gender: float, age: float) -> Weights:
    """Every local shape's weight for a face of `gender` 0 .. 1 and `age` 1/3 .. 1."""
    types = _types(generator(seed, "face types"))
    rng = generator(seed, "targets")
    signed = 2.0 * gender - 1.0
    aged = float(np.clip((age - 0.75) / 0.25, 0.0, 1.0))
    out: list[tuple[str, float]] = []
    for stem in (*WHOLE_STEMS, *SIDED_STEMS):
        spread = _GENTLE.get(stem, _SPREADS[stem.split("-")[0]])
        value = float(np.clip(rng.normal(0.0, spread), -2.5 * spread, 2.5 * spread))
        value += types.get(stem, 0.0) + _REST.get(stem, 0.0)
        value += signed * _FEMININE.get(stem, 0.0) + aged * _AGED.get(stem, 0.0)
        value = float(np.clip(value, _FLOORS.get(stem, -_LIMIT), _LIMIT))
        if stem not in SIDED_STEMS:
            out.append((stem, round(value, 4)))
            continue
        skew = float(np.clip(rng.normal(0.0, 0.035), -0.09, 0.09))
        out += [(f"l-{stem}", round(value + skew, 4)), (f"r-{stem}", round(value - skew, 4))]
    return tuple(out)
