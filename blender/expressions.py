"""The catalogue of expressions: action units by name, chances, mixtures and sampling."""

from __future__ import annotations

import numpy as np

from blender.spec_base import Weights, pick
from blender.spec_face import Expression
from blender.streams import generator
from blender.targets import FACE_ACTIONS

# name -> (chance, action units). A unit without a side moves both; one with a side is mirrored
# in half of the people.
EXPRESSIONS: dict[str, tuple[float, dict[str, float]]] = {
    "neutral": (35.0, {}),
    "slight smile": (9.0, {"mouthSmile": 0.52, "cheekSquint": 0.25, "mouthDimple": 0.15}),
    "smile": (
        7.0,
        {"mouthSmile": 0.80, "cheekSquint": 0.55, "eyeSquint": 0.18},
    ),
    "open smile": (
        6.0,
        {
            "mouthSmile": 0.85, "jawOpen": 0.13, "cheekSquint": 0.55, "mouthUpperUp": 0.34,
            "mouthLowerDown": 0.30, "eyeSquint": 0.18,
        },
    ),
    "laugh": (
        4.0,
        {
            "mouthSmile": 1.0, "jawOpen": 0.42, "cheekSquint": 0.85, "mouthUpperUp": 0.42,
            "mouthLowerDown": 0.28, "eyeSquint": 0.50, "browInnerUp": 0.15,
        },
    ),
    "serious": (3.0, {"browDown": 0.25, "mouthPress": 0.35, "eyeSquint": 0.12}),
    "sad": (2.0, {"browInnerUp": 1.0, "mouthFrown": 0.80, "mouthShrugLower": 0.25}),
    "surprised": (
        3.0,
        {"browInnerUp": 0.80, "browOuterUp": 0.90, "eyeWide": 0.85, "jawOpen": 0.46},
    ),
    "frown": (2.0, {"browDown": 1.0, "mouthFrown": 0.80, "eyeSquint": 0.25}),
    "angry": (
        1.5,
        {"browDown": 1.0, "noseSneer": 0.85, "mouthPress": 0.45, "mouthFrown": 0.60,
         "eyeSquint": 0.25},
    ),
    "pout": (1.5, {"mouthPucker": 0.40, "mouthShrugLower": 0.55, "browInnerUp": 0.15}),
    "speaking": (
        4.0,
        {"jawOpen": 0.17, "mouthFunnel": 0.18, "mouthLowerDown": 0.22, "mouthUpperUp": 0.16},
    ),
    "shouting": (
        1.0,
        {
            "jawOpen": 0.72, "mouthStretch": 0.40, "mouthUpperUp": 0.42, "mouthLowerDown": 0.42,
            "browDown": 0.60, "noseSneer": 0.45,
        },
    ),
    "wink": (
        2.0,
        {"eyeBlinkLeft": 1.0, "eyeSquintLeft": 0.25, "cheekSquintLeft": 0.55, "mouthSmile": 0.40,
         "mouthSmileLeft": 0.60},
    ),
    "squint": (1.5, {"eyeSquint": 1.0, "cheekSquint": 0.40, "browDown": 0.40, "eyeBlink": 0.15}),
    "disgust": (
        1.5,
        {"noseSneer": 1.0, "mouthUpperUp": 0.50, "browDown": 0.60, "mouthFrown": 0.55,
         "cheekSquint": 0.40, "eyeSquint": 0.25},
    ),
    "fear": (
        1.5,
        {
            "browInnerUp": 1.0, "browOuterUp": 0.35, "eyeWide": 0.90, "mouthStretch": 0.70,
            "jawOpen": 0.18,
        },
    ),
    "smirk": (
        2.0,
        {"mouthSmileLeft": 0.60, "mouthDimpleLeft": 0.40, "mouthLeft": 0.12,
         "cheekSquintLeft": 0.30},
    ),
    "raised brow": (
        1.5,
        {"browOuterUpLeft": 1.0, "eyeWideLeft": 0.30, "browDownRight": 0.45,
         "mouthPress": 0.15},
    ),
    "kiss": (1.5, {"mouthPucker": 0.85, "mouthFunnel": 0.10, "eyeSquint": 0.15}),
    "puffed cheeks": (1.5, {"cheekPuff": 0.65, "mouthPress": 0.30, "mouthPucker": 0.15}),
    "tongue out": (
        1.5,
        {"tongueOut": 1.0, "jawOpen": 0.36, "mouthSmile": 0.30, "cheekSquint": 0.30},
    ),
    "eyes closed": (2.0, {"eyeBlink": 1.0, "eyeSquint": 0.20, "mouthSmile": 0.18}),
    "lip bite": (
        1.0,
        {"mouthRollLower": 1.0, "mouthUpperUp": 0.30, "jawOpen": 0.05, "mouthSmile": 0.25},
    ),
    "mixed": (4.0, {}),
}  # fmt: skip
_PARTING = ("jawOpen", "mouthUpperUpLeft", "mouthLowerDownLeft", "mouthFunnel", "tongueOut")
_SEAL = 0.04  # of mouthClose: the model's lips at rest are a millimetre apart
# What "mixed" draws from: one upper-face and one or two lower-face units, none that fight.
_UPPER = ("browDown", "browInnerUp", "browOuterUp", "eyeSquint", "eyeWide", "browOuterUpLeft")
_LOWER = (
    "mouthSmile", "mouthFrown", "mouthPucker", "mouthStretch", "mouthUpperUp", "mouthLowerDown",
    "mouthSmileLeft", "mouthRollLower", "jawLeft", "mouthLeft", "noseSneer", "cheekPuff",
)  # fmt: skip


def sided(units: dict[str, float]) -> dict[str, float]:
    """Action units with their sides: 'mouthSmile' becomes a left and a right one.

    A sided unit next to a plain one adds to it; weights are capped at 1.
    """
    out: dict[str, float] = {}
    for stem, weight in units.items():
        names = (stem,) if stem in FACE_ACTIONS else (f"{stem}Left", f"{stem}Right")
        for name in names:
            out[name] = min(1.0, out.get(name, 0.0) + weight)
    return out


def _sealed(units: dict[str, float]) -> dict[str, float]:
    """The units with lips that touch, unless one of them parts the lips."""
    if any(units.get(name, 0.0) > 0 for name in _PARTING):
        return units
    return units | {"mouthClose": units.get("mouthClose", 0.0) + _SEAL}


def _mirrored(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    return name[:-5] + "Left" if name.endswith("Right") else name


def _mixture(rng: np.random.Generator) -> dict[str, float]:
    lower = rng.choice(len(_LOWER), size=int(rng.integers(1, 3)), replace=False)
    names = [_UPPER[int(rng.integers(len(_UPPER)))], *(_LOWER[int(k)] for k in lower)]
    units = {name: float(rng.uniform(0.35, 0.75)) for name in names}
    if rng.random() < 0.4:
        units["jawOpen"] = float(rng.uniform(0.05, 0.22))
    return units


def make_expression(name: str, strength: float = 1.0) -> Expression:
    """The catalogue's expression `name`, symmetric; ValueError for a name it does not hold."""
    if name not in EXPRESSIONS:
        raise ValueError(f"expression {name!r} is unknown; use one of {', '.join(EXPRESSIONS)}")
    units = _sealed(sided(EXPRESSIONS[name][1]))
    return Expression(name, tuple((n, round(w * strength, 4)) for n, w in units.items()))


def sample_expression(seed: int) -> Expression:
    """A named expression or a mixture, its strength and a little asymmetry.

    Everybody, neutral people too, has a trace of a smile or of raised brows.
    """
    rng = generator(seed, "expression")
    name = pick(rng, {key: chance for key, (chance, _) in EXPRESSIONS.items()})
    units = _mixture(rng) if name == "mixed" else EXPRESSIONS[name][1]
    strength = float(rng.uniform(0.75, 1.0))
    flip = rng.random() < 0.5
    actions: dict[str, float] = {}
    for unit, weight in sided(units).items():
        scale = 1.0 if weight == 1.0 and unit.startswith("eyeBlink") else strength
        skew = 1.0 + float(np.clip(rng.normal(0.0, 0.06), -0.15, 0.15))
        actions[_mirrored(unit) if flip else unit] = min(1.0, weight * scale * skew)
    traces = {
        "mouthSmileLeft": 0.06 + 0.13 * rng.random(), "browInnerUp": 0.08 * rng.random(),
    }  # fmt: skip
    traces["mouthSmileRight"] = traces["mouthSmileLeft"] * float(rng.uniform(0.7, 1.3))
    if name == "neutral":
        actions |= traces
    return Expression(name=name, actions=_rounded(_sealed(actions)))


def _rounded(actions: dict[str, float]) -> Weights:
    return tuple((name, round(weight, 4)) for name, weight in actions.items())
