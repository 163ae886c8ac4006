"""Sampling hair, brows, beard and clothes: the parts of a spec that are worn or grown."""

from __future__ import annotations

import numpy as np

from blender.spec_types import (
    Beard,
    BeardStyle,
    Brows,
    Clothes,
    Garment,
    Hair,
    HairStyle,
    Identity,
    Pattern,
    Rgb,
)
from blender.streams import generator

_NATURAL: dict[str, Rgb] = {
    "black": (0.075, 0.062, 0.058),
    "dark brown": (0.165, 0.110, 0.080),
    "brown": (0.290, 0.190, 0.125),
    "light brown": (0.430, 0.300, 0.190),
    "blond": (0.680, 0.530, 0.330),
    "red": (0.470, 0.200, 0.095),
}
_DYED: dict[str, Rgb] = {
    "green": (0.06, 0.38, 0.30),
    "blue": (0.12, 0.24, 0.52),
    "pink": (0.72, 0.30, 0.45),
    "purple": (0.33, 0.17, 0.45),
}
_CLOTH: dict[str, Rgb] = {
    "white": (0.86, 0.86, 0.85),
    "black": (0.075, 0.075, 0.085),
    "grey": (0.46, 0.47, 0.49),
    "navy": (0.10, 0.15, 0.30),
    "blue": (0.18, 0.32, 0.62),
    "light blue": (0.55, 0.70, 0.85),
    "teal": (0.08, 0.40, 0.42),
    "green": (0.20, 0.42, 0.24),
    "olive": (0.38, 0.38, 0.22),
    "yellow": (0.85, 0.68, 0.25),
    "orange": (0.82, 0.42, 0.20),
    "red": (0.68, 0.15, 0.15),
    "burgundy": (0.38, 0.10, 0.16),
    "pink": (0.86, 0.60, 0.64),
    "purple": (0.40, 0.26, 0.50),
    "cream": (0.88, 0.80, 0.67),
}
# Chances of the styles for men and for women.
_STYLES: dict[HairStyle, tuple[float, float]] = {
    "bald": (0.09, 0.0), "buzz": (0.16, 0.02), "short": (0.30, 0.08), "slick": (0.12, 0.03),
    "long": (0.05, 0.20), "wavy": (0.04, 0.16), "fringe": (0.0, 0.12), "bob": (0.02, 0.14),
    "curly": (0.14, 0.09), "afro": (0.05, 0.04), "bun": (0.02, 0.07), "ponytail": (0.01, 0.05),
}  # fmt: skip
_GREY = np.array([0.62, 0.61, 0.59])


def _pick(rng: np.random.Generator, chances: dict) -> str:
    names = list(chances)
    p = np.array([chances[n] for n in names], float)
    return names[int(rng.choice(len(names), p=p / p.sum()))]


def _rgb(values: np.ndarray) -> Rgb:
    r, g, b = (round(float(v), 4) for v in np.clip(values, 0.0, 1.0))
    return r, g, b


def sample_hair(seed: int, identity: Identity) -> Hair:
    """Style by gender and ancestry, colour by ancestry and age."""
    rng = generator(seed, "hair")
    column = int(identity.gender > 0.5)
    chances = {style: pair[column] for style, pair in _STYLES.items()}
    chances["afro"] *= 0.1 + 4.0 * identity.african
    chances["curly"] *= 0.5 + 2.0 * identity.african
    chances["fringe"] *= 0.6 + identity.asian
    if identity.age > 0.75 and not column:
        chances["bald"] *= 2.0
    style: HairStyle = _pick(rng, chances)  # type: ignore[assignment]
    fair = identity.caucasian**1.3
    colours = {
        "black": 0.15 + 0.9 * (1 - fair), "dark brown": 0.35, "brown": 0.45 * fair,
        "light brown": 0.28 * fair, "blond": 0.30 * fair, "red": 0.10 * fair,
    }  # fmt: skip
    colour = _pick(rng, colours)
    rgb = np.array(_NATURAL[colour]) * np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)
    grey = float(np.clip((identity.age - 0.74) / 0.2 + rng.normal(0.0, 0.2), 0.0, 1.0))
    if rng.random() < 0.06:
        colour, grey = _pick(rng, dict.fromkeys(_DYED, 1.0)), 0.0
        rgb = np.array(_DYED[colour])
    elif grey > 0.35:
        colour = "grey"
    recede = 0.0 if column else max(0.0, identity.age - 0.66) * 8.0 * rng.random()
    return Hair(
        style=style,
        colour=colour,
        rgb=_rgb(rgb),
        length=round(float(rng.uniform(0.8, 1.2)), 4),
        grey=round(grey, 4),
        recede=round(float(recede), 4),
        roughness=round(float(rng.uniform(0.28, 0.45)), 4),
    )


def sample_brows(seed: int, identity: Identity, hair: Hair) -> Brows:
    """Brows a little darker than natural hair, thicker for men."""
    rng = generator(seed, "brows")
    base = np.array(hair.rgb if hair.colour not in _DYED else _NATURAL["dark brown"])
    base = base * (0.72 if base.max() > 0.3 else 0.9)
    base = base * (1 - 0.5 * hair.grey) + 0.5 * hair.grey * _GREY * 0.8
    man = 1.0 - identity.gender
    return Brows(
        rgb=_rgb(base),
        thickness=round(float(np.clip(rng.normal(0.9 + 0.3 * man, 0.13), 0.6, 1.6)), 4),
        density=round(float(np.clip(rng.normal(0.9 + 0.1 * man, 0.12), 0.6, 1.3)), 4),
    )


def sample_beard(seed: int, identity: Identity, hair: Hair) -> Beard:
    """Beards on about half of the men."""
    rng = generator(seed, "beard")
    style: BeardStyle = "none"
    if identity.gender < 0.4:
        chances = {"none": 0.5, "stubble": 0.28, "full": 0.22}
        style = _pick(rng, chances)  # type: ignore[assignment]
    base = np.array(hair.rgb if hair.colour not in _DYED else _NATURAL["dark brown"])
    return Beard(
        style=style,
        rgb=_rgb(base * 0.9),
        grey=round(min(1.0, hair.grey * 1.1), 4),
        length=round(float(rng.uniform(0.75, 1.25)), 4),
    )


def sample_clothes(seed: int, identity: Identity) -> Clothes:
    """A garment, its pattern and two colours."""
    rng = generator(seed, "clothes")
    garments: dict[Garment, float] = {
        "tshirt": 0.34, "vneck": 0.18, "sweater": 0.20, "turtleneck": 0.18,
    }  # fmt: skip
    garment: Garment = _pick(rng, garments)  # type: ignore[assignment]
    pattern: Pattern = _pick(  # type: ignore[assignment]
        rng, {"plain": 0.62, "striped": 0.22, "checked": 0.16}
    )
    names = list(_CLOTH)
    first, second = (names[int(k)] for k in rng.choice(len(names), size=2, replace=False))
    if rng.random() < 0.4:
        second = "white" if first != "white" else "navy"
    return Clothes(
        garment=garment,
        pattern=pattern,
        colour=first,
        rgb=_CLOTH[first],
        second_rgb=_CLOTH[second],
        scale=round(float(rng.uniform(0.7, 1.6)), 4),
    )
