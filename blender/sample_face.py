"""Sampling face, skin, eyes, expression and pose. The distributions are stylised, not a census."""

from __future__ import annotations

import numpy as np

from blender.spec_base import Rgb, Weights, rgb_of
from blender.spec_face import Expression, Eyes, Identity, Pose, Skin
from blender.streams import generator
from blender.targets import SIDED_STEMS, WHOLE_STEMS

# Spread of the local changes by the first part of their name; the others take _SPREAD.
_SPREAD = 0.24
_SPREADS = {
    "cheek": 0.26, "chin": 0.28, "ear": 0.25, "eye": 0.20, "eyebrows": 0.28, "forehead": 0.24,
    "head": 0.20, "mouth": 0.24, "neck": 0.12, "nose": 0.30,
}  # fmt: skip
# Narrower still: these go wrong first.
_GENTLE = {
    "eye-scale-incr": 0.10, "eye-trans-up": 0.10, "eye-push1-out": 0.10, "eye-push2-out": 0.10,
    "eye-eyefold-up": 0.12, "ear-flap-incr": 0.12, "ear-wing-incr": 0.14, "head-age-incr": 0.10,
    "eye-bag-incr": 0.14, "nose-compression-uncompress": 0.10, "mouth-scale-vert-incr": 0.12,
    "eyebrows-angle-up": 0.16, "forehead-scale-vert-incr": 0.14, "mouth-trans-up": 0.12,
    "nose-trans-up": 0.12, "chin-prognathism-incr": 0.12, "mouth-laugh-lines-out": 0.12,
    "eye-epicanthus-out": 0.14, "nose-septumangle-incr": 0.16, "mouth-angles-up": 0.16,
}  # fmt: skip
# Gender hardly shows in MakeHuman's faces: added for a woman, taken away for a man.
_FEMININE = {
    "chin-width-incr": -0.25, "chin-bones-incr": -0.22, "chin-height-incr": -0.10,
    "chin-jaw-drop-incr": -0.15, "chin-prominent-incr": -0.12, "eye-scale-incr": 0.10,
    "eye-height2-incr": 0.14, "mouth-lowerlip-volume-incr": 0.16, "mouth-scale-horiz-incr": -0.06,
    "mouth-upperlip-volume-incr": 0.16, "eyebrows-trans-forward": -0.25, "eyebrows-trans-up": 0.14,
    "neck-scale-horiz-incr": -0.22, "nose-scale-horiz-incr": -0.14, "nose-hump-incr": -0.14,
    "nose-point-up": 0.12, "forehead-nubian-incr": 0.10, "cheek-volume-incr": 0.08,
    "nose-scale-vert-incr": -0.08,
}  # fmt: skip

# Lightest to darkest, sRGB of well-lit skin.
_TONES = np.array(
    [
        (0.950, 0.820, 0.755), (0.915, 0.765, 0.680), (0.870, 0.700, 0.600), (0.800, 0.615, 0.495),
        (0.700, 0.505, 0.385), (0.580, 0.400, 0.295), (0.435, 0.290, 0.215), (0.315, 0.215, 0.170),
    ]
)  # fmt: skip
_LIP = np.array([0.72, 0.30, 0.30])

_IRISES: dict[str, Rgb] = {
    "dark brown": (0.19, 0.11, 0.07),
    "brown": (0.30, 0.18, 0.11),
    "hazel": (0.45, 0.34, 0.16),
    "green": (0.34, 0.46, 0.28),
    "grey": (0.50, 0.55, 0.58),
    "blue": (0.36, 0.49, 0.60),
}

_EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "slight smile": {"mouthSmile": 0.45, "cheekSquint": 0.25, "mouthDimple": 0.15},
    "smile": {"mouthSmile": 0.85, "cheekSquint": 0.55, "eyeSquint": 0.20, "mouthUpperUp": 0.12},
    "open smile": {
        "mouthSmile": 0.85, "jawOpen": 0.22, "cheekSquint": 0.50, "mouthUpperUp": 0.25,
        "mouthLowerDown": 0.15, "eyeSquint": 0.15,
    },
    "serious": {"browDown": 0.40, "mouthPress": 0.35, "eyeSquint": 0.15},
    "sad": {"browInnerUp": 0.70, "mouthFrown": 0.50, "eyeLookDown": 0.0},
    "surprised": {"browInnerUp": 0.6, "browOuterUp": 0.7, "eyeWide": 0.45, "jawOpen": 0.30},
    "frown": {"browDown": 0.80, "mouthFrown": 0.45, "noseSneer": 0.25},
    "pout": {"mouthPucker": 0.45, "mouthShrugLower": 0.25},
    "speaking": {"jawOpen": 0.20, "mouthFunnel": 0.25, "browInnerUp": 0.15},
}  # fmt: skip
_SINGLE_ACTIONS = ("browInnerUp", "jawOpen", "mouthPucker", "mouthFunnel", "mouthShrugLower")


def _normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sd), low, high))


def _mix(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    return a * (1 - weight) + b * weight


def sample_identity(seed: int) -> Identity:
    """Gender, age, ancestry, build and the face's own shape."""
    rng = generator(seed, "identity")
    female = rng.random() < 0.5
    gender = _normal(rng, 0.92 if female else 0.08, 0.06, 0.0, 1.0)
    age = _normal(rng, 0.68, 0.13, 0.55, 0.97)
    african, asian, caucasian = rng.dirichlet([0.45, 0.45, 0.45])
    muscle = _normal(rng, 0.5, 0.15, 0.1, 0.9)
    weight = _normal(rng, 0.48, 0.17, 0.05, 0.95)
    return Identity(
        gender=round(gender, 4),
        age=round(age, 4),
        african=round(float(african), 4),
        asian=round(float(asian), 4),
        caucasian=round(float(caucasian), 4),
        muscle=round(muscle, 4),
        weight=round(weight, 4),
        targets=_targets(seed, gender, age),
    )


def _targets(seed: int, gender: float, age: float) -> Weights:
    rng = generator(seed, "targets")
    signed = 2.0 * gender - 1.0
    out: list[tuple[str, float]] = []
    for stem in (*WHOLE_STEMS, *SIDED_STEMS):
        spread = _GENTLE.get(stem, _SPREADS.get(stem.split("-")[0], _SPREAD))
        value = _normal(rng, 0.0, spread, -0.6, 0.6) + signed * _FEMININE.get(stem, 0.0)
        if stem == "head-age-incr":
            value += 0.55 * max(0.0, age - 0.72) / 0.28
        value = float(np.clip(value, -0.75, 0.75))
        if stem in SIDED_STEMS:
            skew = float(np.clip(rng.normal(0.0, 0.03), -0.08, 0.08))
            out += [(f"l-{stem}", round(value + skew, 4)), (f"r-{stem}", round(value - skew, 4))]
        else:
            out.append((stem, round(value, 4)))
    return tuple(out)


def sample_expression(seed: int) -> Expression:
    """A named expression, its strength and a little asymmetry."""
    rng = generator(seed, "expression")
    names = list(_EXPRESSIONS)
    weights = np.array([0.30, 0.20, 0.14, 0.08, 0.07, 0.04, 0.05, 0.04, 0.04, 0.04])
    name = names[int(rng.choice(len(names), p=weights))]
    strength = rng.uniform(0.7, 1.0)
    actions: list[tuple[str, float]] = []
    for stem, weight in _EXPRESSIONS[name].items():
        value = weight * strength
        if stem in _SINGLE_ACTIONS:
            actions.append((stem, round(value, 4)))
            continue
        skew = float(np.clip(rng.normal(0.0, 0.05), -0.12, 0.12)) * value
        actions += [
            (stem + "Left", round(value + skew, 4)),
            (stem + "Right", round(value - skew, 4)),
        ]
    return Expression(name=name, actions=tuple((n, min(1.0, v)) for n, v in actions))


def sample_skin(seed: int, identity: Identity) -> Skin:
    """Tone by ancestry, condition by age."""
    rng = generator(seed, "skin")
    mean = 6.0 * identity.african + 2.3 * identity.asian + 1.1 * identity.caucasian
    tone = _normal(rng, mean, 0.75, 0.0, 7.0)
    low = min(int(tone), 6)
    base = _mix(_TONES[low], _TONES[low + 1], tone - low)
    base = base * (1 + np.clip(rng.normal(0.0, 0.015, 3), -0.03, 0.03))
    woman = identity.gender > 0.5
    makeup = float(rng.uniform(0.2, 0.9)) if woman and rng.random() < 0.55 else 0.0
    lip = _mix(base, _LIP * (0.55 + 0.45 * base[0]), 0.42 + 0.10 * woman)
    if makeup > 0:
        paint = np.array([(0.66, 0.14, 0.18), (0.74, 0.32, 0.36), (0.52, 0.16, 0.22)])
        lip = _mix(lip, paint[int(rng.integers(3))], 0.45 * makeup)
    fair = max(0.0, 1.0 - tone / 3.0)
    return Skin(
        rgb=rgb_of(base),
        tone=round(tone, 3),
        lip_rgb=rgb_of(lip),
        redness=round(_normal(rng, 0.35 + 0.25 * fair, 0.15, 0.05, 0.95), 4),
        freckles=round(float(rng.uniform(0.3, 1.0)), 4) if rng.random() < 0.45 * fair else 0.0,
        makeup=round(makeup, 4),
        roughness=round(float(rng.uniform(0.30, 0.70)), 4),
        age_spots=round(max(0.0, identity.age - 0.78) / 0.22, 4),
    )


def sample_eyes(seed: int, identity: Identity) -> Eyes:
    """Iris by ancestry, gaze near the front."""
    rng = generator(seed, "eyes")
    light = identity.caucasian**1.5
    chances = np.array([0.55 * (1 - light) + 0.04, 0.40, 0.18 * light, 0.14 * light, 0.12 * light,
                        0.32 * light])  # fmt: skip
    names = list(_IRISES)
    colour = names[int(rng.choice(len(names), p=chances / chances.sum()))]
    shade = rng.normal(1.0, 0.10)
    return Eyes(
        colour=colour,
        rgb=rgb_of(np.array(_IRISES[colour]) * np.clip(shade, 0.75, 1.25)),
        pupil=round(_normal(rng, 0.36, 0.05, 0.26, 0.48), 4),
        yaw=round(_normal(rng, 0.0, 5.0, -12.0, 12.0), 3),
        pitch=round(_normal(rng, 0.0, 2.5, -6.0, 6.0), 3),
    )


def sample_pose(seed: int) -> Pose:
    """A head held nearly straight."""
    rng = generator(seed, "pose")
    yaw, pitch, roll = (round(_normal(rng, 0.0, sd, -7.0, 7.0), 3) for sd in (3.5, 2.5, 2.0))
    return Pose(yaw=yaw, pitch=pitch, roll=roll)
