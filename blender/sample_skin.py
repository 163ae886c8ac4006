"""Sampling skin: tone and undertone, condition by age, make-up."""

from __future__ import annotations

import numpy as np

from blender.spec_base import Rgb, pick, rgb_of
from blender.spec_face import Identity, Skin
from blender.streams import generator

# Tones 0 (lightest) to 7 (darkest) in CIELAB: measured skin lies on such a curve, reddest and
# yellowest in its middle.
_LIGHTNESS = np.array([79.0, 76.0, 72.0, 65.0, 56.5, 47.0, 36.5, 28.0])
_RED = np.array([10.0, 11.5, 13.0, 15.0, 16.5, 16.0, 12.5, 9.0])
_YELLOW = np.array([13.0, 15.5, 18.5, 21.5, 23.0, 21.5, 16.0, 10.0])
_UNDERTONE = (-2.0, 3.6)  # what a warm undertone adds to red and to yellow
_SPREAD = 1.05  # of the tone about its ancestry's mean: skin and face shape agree only loosely
_LIP = np.array([0.70, 0.27, 0.29])

_LIPSTICKS: dict[str, Rgb] = {
    "red": (0.66, 0.07, 0.11), "rose": (0.76, 0.30, 0.37), "berry": (0.45, 0.09, 0.21),
    "coral": (0.84, 0.32, 0.25), "nude": (0.66, 0.42, 0.36), "plum": (0.34, 0.10, 0.20),
    "pink": (0.85, 0.35, 0.50),
}  # fmt: skip
_SHADOWS: dict[str, Rgb] = {
    "brown": (0.34, 0.21, 0.17), "smoke": (0.18, 0.17, 0.19), "plum": (0.34, 0.17, 0.31),
    "bronze": (0.52, 0.34, 0.20), "blue": (0.25, 0.35, 0.55), "green": (0.20, 0.38, 0.31),
    "rose": (0.62, 0.34, 0.37),
}  # fmt: skip


def _lab_to_srgb(lightness: float, red: float, yellow: float) -> np.ndarray:
    """CIELAB (D65) to sRGB (3,), clipped to [0, 1]."""
    fy = (lightness + 16) / 116
    f = np.array([fy + red / 500, fy, fy - yellow / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = xyz * (0.95047, 1.0, 1.08883)
    matrix = np.array(
        [(3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570)]
    )
    light = np.clip(matrix @ xyz, 0.0, 1.0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def skin_rgb(tone: float, undertone: float) -> np.ndarray:
    """sRGB (3,) of a skin tone 0 .. 7 with an undertone -1 cool .. 1 warm."""
    at = np.arange(8.0)
    values = [float(np.interp(tone, at, curve)) for curve in (_LIGHTNESS, _RED, _YELLOW)]
    weight = 0.5 + 0.5 * values[0] / 79.0  # dark skins shift less
    return _lab_to_srgb(
        values[0],
        values[1] + weight * undertone * _UNDERTONE[0],
        values[2] + weight * undertone * _UNDERTONE[1],
    )


def _beta(rng: np.random.Generator, a: float, b: float) -> float:
    return round(float(rng.beta(a, b)), 4)


def _lips(rng: np.random.Generator, base: np.ndarray, woman: bool, age: float) -> np.ndarray:
    """Bare lips (3,) sRGB: redder than the skin, paler with age, browner on dark skin."""
    blood = _LIP * (0.45 + 0.60 * base[0])
    weight = 0.36 + 0.10 * woman - 0.12 * max(0.0, age - 0.75) / 0.25 + rng.normal(0, 0.05)
    return base + np.clip(weight, 0.15, 0.6) * (blood - base)


def sample_skin(seed: int, identity: Identity) -> Skin:
    """Tone loosely by ancestry, condition by age, make-up on half of the women."""
    rng = generator(seed, "skin")
    shares = np.array([identity.african, identity.asian, identity.caucasian])
    mean = float(shares @ (5.6, 2.6, 1.2) / shares.sum())
    tone = float(np.clip(rng.normal(mean, _SPREAD), 0.0, 7.0))
    undertone = float(np.clip(rng.normal(0.25 * (identity.asian - 0.3), 0.45), -1.0, 1.0))
    base = skin_rgb(tone, undertone)
    woman = identity.gender > 0.5
    aged = max(0.0, identity.age - 0.75) / 0.25  # from 40 years to 85
    fair = max(0.0, 1.0 - tone / 3.5)
    lip = _lips(rng, base, woman, identity.age)
    made_up = woman and rng.random() < 0.55
    amounts = {
        name: round(float(rng.uniform(0.35, 1.0)), 4) if made_up and rng.random() < chance else 0.0
        for name, chance in (
            ("lipstick", 0.75), ("eye_shadow", 0.55), ("eyeliner", 0.50), ("blush", 0.45)
        )
    }  # fmt: skip
    paint = np.array(_LIPSTICKS[pick(rng, dict.fromkeys(_LIPSTICKS, 1.0))])
    lip = lip + 0.85 * amounts["lipstick"] * (paint - lip)
    freckled = rng.random() < (0.06 + 0.32 * fair) * (1 - 0.6 * aged)
    return Skin(
        rgb=rgb_of(base),
        tone=round(tone, 3),
        undertone=round(undertone, 4),
        lip_rgb=rgb_of(lip),
        redness=round(float(np.clip(rng.normal(0.34 + 0.22 * fair, 0.17), 0.02, 0.95)), 4),
        under_eye=round(float(np.clip(rng.beta(1.6, 3.0) + 0.25 * aged, 0.0, 1.0)), 4),
        roughness=_beta(rng, 2.5, 2.5),
        wrinkles=round(float(np.clip(rng.normal(1.0, 0.18), 0.55, 1.4)), 4),
        age_spots=round(float(np.clip(aged * rng.uniform(0.2, 1.2), 0.0, 1.0)), 4),
        freckles=round(float(rng.uniform(0.15, 1.0)), 4) if freckled else 0.0,
        moles=_beta(rng, 1.0, 2.2) if rng.random() < 0.5 else 0.0,
        shave=0.0 if woman or identity.age < 0.57 else _beta(rng, 1.8, 2.2),  # from 21 years
        shadow_rgb=_SHADOWS[pick(rng, dict.fromkeys(_SHADOWS, 1.0))],
        **amounts,
    )
