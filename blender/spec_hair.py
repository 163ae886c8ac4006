"""Hair, brows and beard of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from blender.spec_base import Rgb, choices, pick, rgb_of, within
from blender.spec_face import Identity
from blender.streams import generator

HairStyle = Literal[
    "bald", "buzz", "crew", "flattop", "horseshoe", "short", "sidepart", "slick", "quiff",
    "undercut", "mohawk", "pixie", "curly", "coily", "afro", "bob", "lob", "ringlets", "long",
    "wavy", "fringe", "shag", "bun", "topknot", "spacebuns", "ponytail", "pigtails", "braids",
    "cornrows", "locs",
]  # fmt: skip
BeardStyle = Literal[
    "none", "stubble", "full", "long", "boxed", "moustache", "handlebar", "goatee", "vandyke",
    "circle", "soulpatch", "mutton", "chinstrap",
]  # fmt: skip

# What captions call them; {c} is the colour. The first is the usual one.
HAIR_WORDS: dict[HairStyle, tuple[str, ...]] = {
    "bald": ("no hair", "a bald head", "a shaved head"),
    "buzz": ("a {c} buzz cut", "{c} hair cropped very short", "closely shorn {c} hair"),
    "crew": ("a {c} crew cut", "{c} hair in a crew cut", "neatly cropped {c} hair"),
    "flattop": ("a {c} flat top", "{c} hair cut into a flat top"),
    "horseshoe": ("a bald crown with {c} hair at the sides", "a bald top and {c} hair around it",
                  "{c} hair left only at the sides and back"),
    "short": ("short {c} hair", "{c} hair cut short", "short tousled {c} hair"),
    "sidepart": ("side-parted {c} hair", "neat {c} hair with a side parting",
                 "short {c} hair combed to one side"),
    "slick": ("slicked-back {c} hair", "{c} hair combed straight back"),
    "quiff": ("a {c} quiff", "{c} hair brushed up at the front"),
    "undercut": ("a {c} undercut", "{c} hair long on top and shaved at the sides"),
    "mohawk": ("a {c} mohawk", "{c} hair in a mohawk"),
    "pixie": ("a {c} pixie cut", "{c} hair in a pixie cut"),
    "curly": ("curly {c} hair", "short {c} curls", "a head of {c} curls"),
    "coily": ("short coily {c} hair", "tightly coiled short {c} hair"),
    "afro": ("a {c} afro", "{c} hair in a round afro"),
    "bob": ("a {c} bob", "{c} hair cut in a bob", "chin-length {c} hair"),
    "lob": ("a long {c} bob", "{c} hair down to the shoulders", "shoulder-length {c} hair"),
    "ringlets": ("{c} ringlets", "shoulder-length {c} curls", "{c} hair in loose ringlets"),
    "long": ("long straight {c} hair", "straight {c} hair past the shoulders"),
    "wavy": ("long wavy {c} hair", "{c} hair in long waves", "flowing {c} waves"),
    "fringe": ("long {c} hair with a fringe", "long {c} hair with bangs"),
    "shag": ("a {c} shag cut", "layered {c} hair with a fringe", "shaggy {c} hair with bangs"),
    "bun": ("{c} hair in a bun", "{c} hair tied back in a bun"),
    "topknot": ("{c} hair in a topknot", "a {c} topknot"),
    "spacebuns": ("{c} hair in two buns", "{c} space buns"),
    "ponytail": ("a {c} ponytail", "{c} hair tied in a ponytail"),
    "pigtails": ("{c} pigtails", "{c} hair in two bunches"),
    "braids": ("two {c} braids", "{c} hair in two plaits"),
    "cornrows": ("{c} cornrows", "{c} hair braided into cornrows"),
    "locs": ("{c} locs", "{c} dreadlocks"),
}  # fmt: skip
BEARD_WORDS: dict[BeardStyle, tuple[str, ...]] = {
    "none": ("",),
    "stubble": ("stubble", "an unshaven chin", "designer stubble"),
    "full": ("a full beard", "a beard", "a thick beard"),
    "long": ("a long beard", "a long full beard"),
    "boxed": ("a short beard", "a neatly trimmed beard", "a short boxed beard"),
    "moustache": ("a moustache", "a neat moustache"),
    "handlebar": ("a handlebar moustache", "a moustache with upturned ends"),
    "goatee": ("a goatee", "a chin beard"),
    "vandyke": ("a Van Dyke beard", "a moustache and a pointed goatee"),
    "circle": ("a circle beard", "a beard around the mouth"),
    "soulpatch": ("a soul patch", "a small patch of beard under the lower lip"),
    "mutton": ("mutton chops", "bushy sideburns"),
    "chinstrap": ("a chinstrap beard", "a thin beard along the jaw"),
}
_NATURAL: dict[str, Rgb] = {
    "black": (0.075, 0.062, 0.058), "dark brown": (0.165, 0.110, 0.080),
    "brown": (0.290, 0.190, 0.125), "light brown": (0.430, 0.300, 0.190),
    "dark blond": (0.540, 0.410, 0.260), "blond": (0.700, 0.560, 0.360),
    "red": (0.470, 0.200, 0.095), "dark auburn": (0.270, 0.110, 0.075),
}  # fmt: skip
_WHITE: Rgb = (0.88, 0.87, 0.85)
_DYED: dict[str, Rgb] = {
    "green": (0.06, 0.38, 0.30), "blue": (0.12, 0.24, 0.52), "pink": (0.72, 0.30, 0.45),
    "purple": (0.33, 0.17, 0.45), "platinum blond": (0.88, 0.82, 0.70),
    "bright red": (0.58, 0.07, 0.09), "copper": (0.66, 0.30, 0.12), "burgundy": (0.30, 0.05, 0.10),
}  # fmt: skip
# What an ombre of each natural colour ends in.
_OMBRE = {"black": "brown", "dark brown": "dark blond", "brown": "blond", "light brown": "blond"}
_HANGING: tuple[HairStyle, ...] = ("lob", "ringlets", "long", "wavy", "fringe", "shag")
_YOUNG: tuple[HairStyle, ...] = (
    "mohawk", "topknot", "spacebuns", "pigtails", "undercut", "flattop",
)  # fmt: skip
_COILED: tuple[HairStyle, ...] = ("afro", "coily", "cornrows", "locs")
_CURLED: tuple[HairStyle, ...] = ("curly", "ringlets")
_SMOOTH: tuple[HairStyle, ...] = (
    "sidepart", "slick", "quiff", "pixie", "long", "bob", "lob", "wavy", "shag",
)  # fmt: skip
_MATURE: tuple[HairStyle, ...] = ("bob", "pixie", "short", "bun")
# Chances of the styles for men and for women.
_STYLES: dict[HairStyle, tuple[float, float]] = {
    "bald": (0.06, 0.004), "buzz": (0.08, 0.01), "crew": (0.09, 0.0), "flattop": (0.05, 0.0),
    "horseshoe": (0.05, 0.0), "short": (0.10, 0.02), "sidepart": (0.09, 0.0), "slick": (0.06, 0.01),
    "quiff": (0.07, 0.0), "undercut": (0.05, 0.02), "mohawk": (0.035, 0.01), "pixie": (0.0, 0.06),
    "curly": (0.07, 0.04), "coily": (0.05, 0.03), "afro": (0.035, 0.035), "bob": (0.0, 0.07),
    "lob": (0.01, 0.06), "ringlets": (0.005, 0.05), "long": (0.02, 0.07), "wavy": (0.02, 0.08),
    "fringe": (0.0, 0.06), "shag": (0.015, 0.05), "bun": (0.01, 0.05), "topknot": (0.025, 0.04),
    "spacebuns": (0.0, 0.05), "ponytail": (0.01, 0.055), "pigtails": (0.0, 0.04),
    "braids": (0.0, 0.05), "cornrows": (0.03, 0.03), "locs": (0.03, 0.03),
}  # fmt: skip
_BEARDS: dict[BeardStyle, float] = {
    "none": 0.46, "stubble": 0.13, "full": 0.08, "long": 0.04, "boxed": 0.06, "moustache": 0.05,
    "handlebar": 0.04, "goatee": 0.04, "vandyke": 0.04, "circle": 0.045, "soulpatch": 0.035,
    "mutton": 0.035, "chinstrap": 0.035,
}  # fmt: skip
_GROWN = (0.476, 0.643)  # ages (17 and 24 years) between which beards come
_GREY = np.array([0.62, 0.61, 0.59])


@dataclass(frozen=True)
class Hair:
    """Hair on the scalp."""

    style: HairStyle = "short"
    colour: str = "brown"  # what a caption calls it
    rgb: Rgb = (0.20, 0.13, 0.09)  # sRGB
    length: float = 1.0  # scale of the style's own lengths
    tip_rgb: Rgb = (0.20, 0.13, 0.09)  # sRGB, colour of the ends
    ombre: float = 0.0  # 0 .. 1, how much the ends take `tip_rgb`
    grey: float = 0.0  # share of grey strands, 0 .. 1
    curl: float = 0.0  # 0 .. 1 waves or curls beyond the style's own
    density: float = 1.0  # share of the style's strands
    parting: Literal["left", "right"] = "left"  # side of a side parting, as a viewer sees it
    recede: float = 0.0  # cm the hairline has moved back
    roughness: float = 0.35  # 0 .. 1

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "tip_rgb", "ombre", "grey")
        within(self, 0.0, 1.0, "roughness", "curl")
        within(self, 0.4, 1.6, "length")
        within(self, 0.5, 1.3, "density")
        within(self, 0.0, 4.0, "recede")


@dataclass(frozen=True)
class Brows:
    """Eyebrows."""

    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    thickness: float = 1.0  # scale of the band
    arch: float = 0.0  # -1 straight .. 1 arched
    density: float = 1.0  # 0 .. 1.5

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb")
        within(self, 0.4, 1.8, "thickness")
        within(self, -1.0, 1.0, "arch")
        within(self, 0.0, 1.5, "density")


@dataclass(frozen=True)
class Beard:
    """Beard and moustache."""

    style: BeardStyle = "none"
    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    grey: float = 0.0  # share of grey strands, 0 .. 1
    length: float = 1.0  # scale of the style's own lengths

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "grey")
        within(self, 0.4, 1.6, "length")


def _style_chances(identity: Identity) -> dict[HairStyle, float]:
    """How likely each style is for a person, not normalised."""
    column = int(identity.gender > 0.5)
    chances = {style: pair[column] for style, pair in _STYLES.items()}
    for style in _COILED:
        chances[style] *= 0.06 + 3.7 * identity.african
    for style in _CURLED:
        chances[style] *= 0.7 + 1.2 * identity.african
    for style in _SMOOTH:
        chances[style] *= 1.1 - 0.8 * identity.african
    chances["fringe"] *= 0.6 + identity.asian
    old = float(np.clip((identity.age - 0.72) / 0.16, 0.0, 1.0))
    chances["horseshoe"] *= 0.06 + 5.0 * old
    chances["bald"] *= 0.7 + 1.2 * old
    for style in _MATURE:
        chances[style] *= 1.0 + 0.8 * old
    for style in _YOUNG:
        chances[style] *= 1.25 - 0.95 * old
    return chances


def _sample_colour(rng: np.random.Generator, identity: Identity) -> tuple[str, np.ndarray, float]:
    """The colour's name, its sRGB (3,) and the share of grey strands."""
    fair = identity.caucasian**1.3
    colours = {
        "black": 0.15 + 0.9 * (1 - fair), "dark brown": 0.35, "brown": 0.45 * fair,
        "light brown": 0.24 * fair, "dark blond": 0.20 * fair, "blond": 0.20 * fair,
        "red": 0.09 * fair, "dark auburn": 0.02 + 0.10 * fair,
    }  # fmt: skip
    colour = pick(rng, colours)
    rgb = np.array(_NATURAL[colour]) * np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)
    grey = float(np.clip((identity.age - 0.76) / 0.17 + rng.normal(0.0, 0.18), 0.0, 1.0))
    chance = rng.random()
    if chance < (0.09 if identity.age < 0.8 else 0.02):
        colour = pick(rng, dict.fromkeys(_DYED, 1.0))
        return colour, np.array(_DYED[colour]), 0.0
    if identity.gender > 0.5 and chance > 0.72:  # many women dye their grey away
        return colour, rgb, 0.0
    if identity.age > 0.88 and chance > 0.45 and grey > 0.7:
        return "white", np.array(_WHITE), 0.3
    if grey > 0.65:
        return "grey", rgb, grey
    if grey > 0.32:
        return "salt-and-pepper", rgb, grey
    return ("greying " if grey > 0.15 else "") + colour, rgb, grey if grey > 0.03 else 0.0


def sample_hair(seed: int, identity: Identity) -> Hair:
    """Style by gender, age and ancestry, colour by ancestry and age."""
    rng = generator(seed, "hair")
    man = identity.gender <= 0.5
    style: HairStyle = pick(rng, _style_chances(identity))
    colour, rgb, grey = _sample_colour(rng, identity)
    ombre, tip = 0.0, rgb
    if style in _HANGING and colour in _OMBRE and rng.random() < 0.16:
        ombre = round(float(rng.uniform(0.7, 1.0)), 4)
        tip = np.array(_NATURAL[_OMBRE[colour]])
        colour = f"{colour} to {_OMBRE[colour]}"
    recede = max(0.0, identity.age - 0.64) * 11.0 * rng.beta(1.2, 2.0) if man else 0.0
    thin = 0.25 * max(0.0, identity.age - 0.75) / 0.25
    straight = identity.asian**2
    return Hair(
        style=style,
        colour=colour,
        rgb=rgb_of(rgb),
        tip_rgb=rgb_of(tip),
        ombre=ombre,
        length=round(float(rng.uniform(0.8, 1.2)), 4),
        grey=round(grey, 4),
        curl=round(float(rng.beta(0.8, 2.0) * (1 - 0.8 * straight)), 4),
        density=round(float(np.clip(rng.normal(1.0 - thin, 0.08), 0.6, 1.2)), 4),
        parting="left" if rng.random() < 0.6 else "right",
        recede=round(min(float(recede), 3.5), 4),
        roughness=round(float(rng.uniform(0.28, 0.45)), 4),
    )


def _undyed(hair: Hair) -> np.ndarray:
    """The sRGB (3,) that brows and beard have by nature."""
    return np.array(_NATURAL["dark brown"] if hair.colour in _DYED else hair.rgb)


def sample_brows(seed: int, identity: Identity, hair: Hair) -> Brows:
    """Brows a little darker than natural hair, thicker for men."""
    rng = generator(seed, "brows")
    base = _undyed(hair)
    base = base * (0.70 if base.max() > 0.5 else 0.85) + 0.02
    base = base * (1 - 0.5 * hair.grey) + 0.5 * hair.grey * _GREY * 0.8
    man = 1.0 - identity.gender
    return Brows(
        rgb=rgb_of(base),
        thickness=round(float(np.clip(rng.normal(0.82 + 0.28 * man, 0.16), 0.5, 1.6)), 4),
        arch=round(float(np.clip(rng.normal(0.15 - 0.3 * man, 0.35), -1.0, 1.0)), 4),
        density=round(float(np.clip(rng.normal(0.72 + 0.18 * man, 0.14), 0.4, 1.3)), 4),
    )


def sample_beard(seed: int, identity: Identity, hair: Hair) -> Beard:
    """Beards on more than half of the men."""
    rng = generator(seed, "beard")
    style: BeardStyle = "none"
    if identity.gender < 0.4:
        chances = dict(_BEARDS)
        old = float(np.clip((identity.age - 0.66) / 0.2, 0.0, 1.0))
        chances["long"] *= 0.3 + 1.4 * old
        grown = float(np.interp(identity.age, _GROWN, (0.0, 1.0)))
        chances = {name: p if name == "none" else p * grown for name, p in chances.items()}
        style = pick(rng, chances)
    base = _undyed(hair)
    return Beard(
        style=style,
        rgb=rgb_of(base * 0.9),
        grey=round(min(1.0, hair.grey * 1.1), 4),
        length=round(float(rng.uniform(0.75, 1.25)), 4),
    )
