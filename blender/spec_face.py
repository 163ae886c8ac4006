"""Face, skin, eyes, expression and pose of a spec: plain, validated data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from blender.spec_base import Rgb, Weights, within


@dataclass(frozen=True)
class Identity:
    """The shape of head and shoulders."""

    gender: float = 0.5  # 0 male .. 1 female
    age: float = 0.66  # 1/3 child (11 years), 2/3 young (25), 1 old (85)
    african: float = 1 / 3  # ancestry shares, taken relative to their sum
    asian: float = 1 / 3
    caucasian: float = 1 / 3
    muscle: float = 0.5  # 0 .. 1
    weight: float = 0.5  # 0 thin .. 1 heavy
    targets: Weights = ()  # (name of a target's positive end, signed weight), see blender.targets

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "gender", "african", "asian", "caucasian", "muscle", "weight")
        within(self, 1 / 3, 1.0, "age")
        if self.african + self.asian + self.caucasian <= 0:
            raise ValueError("Identity has no ancestry; make african, asian or caucasian positive")
        for name, weight in self.targets:
            if not (math.isfinite(weight) and abs(weight) <= 1):
                raise ValueError(f"Identity.targets {name} is {weight}; it must be within -1 to 1")


@dataclass(frozen=True)
class Expression:
    """Facial action units by name (the 52 ARKit-like ones), weights 0 .. 1."""

    name: str = "neutral"  # what a caption calls it
    actions: Weights = ()

    def __post_init__(self) -> None:
        for name, weight in self.actions:
            if not (math.isfinite(weight) and 0 <= weight <= 1):
                raise ValueError(f"Expression.actions {name} is {weight}; it must be in 0 to 1")


@dataclass(frozen=True)
class Skin:
    """Skin colour, condition and make-up. Amounts are 0 none .. 1 strong."""

    rgb: Rgb = (0.80, 0.60, 0.50)  # base colour, sRGB
    tone: float = 3.0  # 0 lightest .. 7 darkest, what `rgb` was mixed from
    undertone: float = 0.0  # -1 cool and rosy .. 1 warm and golden, in `rgb` already
    lip_rgb: Rgb = (0.70, 0.38, 0.36)  # lips with their lipstick, sRGB
    redness: float = 0.4  # on cheeks, nose and ears
    under_eye: float = 0.3  # dark rings
    roughness: float = 0.5  # 0 oily .. 1 dry
    wrinkles: float = 1.0  # scale of what the years fold
    age_spots: float = 0.0
    freckles: float = 0.0
    moles: float = 0.0  # 1 is about five
    shave: float = 0.0  # shadow of a shaven beard
    lipstick: float = 0.0
    eye_shadow: float = 0.0
    shadow_rgb: Rgb = (0.35, 0.22, 0.20)  # eye shadow, sRGB
    eyeliner: float = 0.0
    blush: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb", "lip_rgb", "shadow_rgb", "redness", "under_eye", "roughness")
        within(self, 0.0, 1.0, "age_spots", "freckles", "moles", "shave")
        within(self, 0.0, 1.0, "lipstick", "eye_shadow", "eyeliner", "blush")
        within(self, 0.0, 1.5, "wrinkles")
        within(self, -1.0, 1.0, "undertone")
        within(self, 0.0, 7.0, "tone")

    @property
    def makeup(self) -> float:
        """The strongest of all make-up."""
        return max(self.lipstick, self.eye_shadow, self.eyeliner, self.blush)


@dataclass(frozen=True)
class Eyes:
    """Irises and where they look."""

    colour: str = "brown"  # what a caption calls it
    rgb: Rgb = (0.30, 0.17, 0.09)  # iris, sRGB
    pupil: float = 0.36  # radius of the pupil as a share of the iris
    yaw: float = 0.0  # degrees, positive looks to +x (the viewer's right)
    pitch: float = 0.0  # degrees, positive looks up

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb")
        within(self, 0.15, 0.7, "pupil")
        within(self, -25.0, 25.0, "yaw", "pitch")


@dataclass(frozen=True)
class Pose:
    """How the head is held, degrees; the eyes' midpoint stays where it is."""

    yaw: float = 0.0  # positive turns to +x (the viewer's right)
    pitch: float = 0.0  # positive looks up
    roll: float = 0.0  # positive leans the crown to +x
    arms: float = 28.0  # how far the arms are lowered

    def __post_init__(self) -> None:
        within(self, -20.0, 20.0, "yaw", "pitch", "roll")
        within(self, 0.0, 45.0, "arms")


# How a caption may end, by the expression's name; the first is the usual one.
EXPRESSION_WORDS: dict[str, tuple[str, ...]] = {
    "neutral": ("",),
    "slight smile": ("smiling slightly", "with a slight smile", "with a faint smile"),
    "smile": ("smiling", "with a smile", "with a closed-mouth smile"),
    "open smile": ("smiling broadly", "with a toothy smile", "with a wide open smile"),
    "laugh": ("laughing", "laughing out loud", "with a big laugh"),
    "serious": ("looking serious", "with a serious expression"),
    "sad": ("looking sad", "with a sad expression"),
    "surprised": ("looking surprised", "with an open mouth and raised brows"),
    "frown": ("frowning", "with a frown"),
    "angry": ("looking angry", "with an angry expression"),
    "pout": ("pouting", "with a pout"),
    "speaking": ("speaking", "in the middle of a word"),
    "shouting": ("shouting", "with a wide open mouth"),
    "wink": ("winking", "with one eye closed"),
    "squint": ("squinting", "with narrowed eyes"),
    "disgust": ("looking disgusted", "wrinkling the nose"),
    "fear": ("looking afraid", "with a fearful expression"),
    "smirk": ("smirking", "with a one-sided smile"),
    "raised brow": ("raising one eyebrow", "with one eyebrow raised"),
    "kiss": ("blowing a kiss", "with pursed lips"),
    "puffed cheeks": ("puffing the cheeks", "with puffed cheeks"),
    "tongue out": ("sticking the tongue out", "with the tongue out"),
    "eyes closed": ("with closed eyes", "with the eyes closed"),
    "lip bite": ("biting the lower lip", "with the lower lip drawn in"),
    "mixed": ("making a face", "with a mixed expression"),
}


def skin_words(skin: Skin) -> list[tuple[str, ...]]:
    """Phrases for what is plain to see on a skin, a tuple of choices for each thing."""
    seen = (
        (skin.freckles > 0.35, ("freckles", "freckled cheeks")),
        (skin.lipstick > 0.5, ("lipstick", "painted lips")),
        (skin.eye_shadow > 0.5, ("eye shadow", "painted eyelids")),
        (skin.eyeliner > 0.5, ("eyeliner", "dark eyeliner")),
        (skin.blush > 0.6, ("rouged cheeks", "blush on the cheeks")),
        (skin.age_spots > 0.5, ("age spots", "skin spotted by age")),
        (skin.moles > 0.7, ("moles", "a few moles")),
    )
    return [words for shown, words in seen if shown]
