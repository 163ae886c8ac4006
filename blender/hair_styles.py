"""The hair styles as numbers. Lengths in metres, template heights in centimetres above the eyes."""

from __future__ import annotations

from dataclasses import dataclass, replace

BALD = "bald"


@dataclass(frozen=True)
class Style:
    """What a style asks of the guide strands and of the node groups after them."""

    lengths: tuple[tuple[float, float], ...]  # (height of the root in cm, strand length in m)
    layer: tuple[float, float] = (0.002, 0.012)  # m, the shells above the skin that strands lie in
    rise: float = 0.5  # 0..1, how far strands start outwards rather than combed flat
    spring: float = 0.55  # 0..1, how much a strand keeps its direction from step to step
    hug: float = 1.0  # 0..1, pull towards its own shell
    gravity: float = 0.5  # weight of falling
    sweep: tuple[float, float] = (0.0, 0.0)  # combing on top: (away from the parting, to the front)
    flank: tuple[float, float] = (0.3, -0.3)  # combing on the sides: (down, to the front)
    part: float | None = None  # cm, x of the parting; None for no parting
    tie: tuple[float, float, float] | None = None  # cm, template point all strands are drawn to
    cut: float | None = None  # cm, height at which the hair is cut straight
    fringe: float | None = None  # cm, height at which the hair over the forehead is cut
    wild: float = 0.05  # random spread of the directions
    density: float = 160_000.0  # strands a square metre
    radius: float = 0.00035  # m
    points: int = 16  # a guide
    clump: tuple[float, float] = (0.010, 0.35)  # (size in m, 0..1 strength)
    curl: tuple[float, float] | None = None  # (radius in m, turns a strand)
    frizz: float = 0.0004  # m
    wave: tuple[float, float] | None = None  # (amplitude, wavelength) in m, shared by neighbours
    tied: str | None = None  # what hangs on the tie: 'bun' or 'tail'
    spread: float = 0.08  # relative spread of the lengths


_BUZZ = Style(
    lengths=((-9, 0.003), (-2, 0.005), (6, 0.007), (12, 0.008)),
    layer=(0.001, 0.004), rise=0.75, hug=0.2, flank=(0.8, -0.2), sweep=(0.0, 0.6), wild=0.25,
    density=420_000.0, radius=0.00026, points=4, clump=(0.004, 0.0), frizz=0.0,
)  # fmt: skip
_SHORT = Style(
    lengths=((-9, 0.006), (-3, 0.012), (3, 0.020), (6.5, 0.034), (9, 0.060), (12, 0.070)),
    layer=(0.003, 0.016), rise=0.8, spring=0.72, hug=0.7, gravity=0.15, sweep=(0.9, 0.45),
    flank=(0.9, -0.35), part=-3.2, wild=0.09, clump=(0.012, 0.25), frizz=0.0006,
    density=190_000.0,
)  # fmt: skip
_LONG = Style(
    lengths=((-9, 0.22), (0, 0.27), (6, 0.34), (12, 0.40)),
    layer=(0.002, 0.014), rise=0.6, spring=0.5, gravity=0.9, sweep=(0.8, -0.35),
    flank=(0.9, -0.25), part=0.4, cut=-22.5, wild=0.04, points=24, clump=(0.012, 0.22),
    frizz=0.0006, density=190_000.0,
)  # fmt: skip
_BOB = replace(
    _LONG, lengths=((-9, 0.07), (0, 0.15), (6, 0.24), (12, 0.30)), layer=(0.003, 0.020),
    cut=-10.5, part=2.6, points=20, clump=(0.016, 0.25), frizz=0.0004,
)  # fmt: skip
_CURLY = Style(
    lengths=((-9, 0.016), (-4, 0.028), (2, 0.044), (8, 0.060), (12, 0.064)),
    layer=(0.01, 0.03), rise=1.0, spring=0.84, hug=0.0, gravity=0.30, flank=(0.4, -0.5),
    wild=0.16, density=200_000.0, radius=0.00038, points=14, clump=(0.010, 0.36),
    curl=(0.0055, 4.0), frizz=0.0016,
)  # fmt: skip

STYLES: dict[str, Style] = {
    "buzz": _BUZZ,
    "short": _SHORT,
    "slick": replace(_SHORT, sweep=(0.0, -1.0), part=None, layer=(0.002, 0.012), rise=0.7,
                     lengths=((-9, 0.012), (-4, 0.026), (2, 0.045), (6, 0.065), (12, 0.095)),
                     flank=(0.6, -0.8), hug=0.95, frizz=0.0003, density=210_000.0),
    "long": _LONG,
    "wavy": replace(_LONG, layer=(0.004, 0.024), wave=(0.0075, 0.055), clump=(0.014, 0.35),
                    frizz=0.0010, cut=-21.0, part=-2.4, points=36),
    "fringe": replace(_LONG, fringe=1.4, part=None, cut=-19.0, clump=(0.014, 0.3)),
    "bob": _BOB,
    "curly": _CURLY,
    "afro": replace(_CURLY, lengths=((-9, 0.022), (-4, 0.045), (2, 0.064), (8, 0.070), (12, 0.070)),
                    gravity=0.0, flank=(0.05, -0.2), wild=0.06, curl=(0.0036, 8.0), frizz=0.0030,
                    clump=(0.006, 0.12), density=180_000.0, spread=0.03, points=16),
    "bun": Style(lengths=((-9, 0.16), (0, 0.2), (12, 0.2)), layer=(0.001, 0.006), rise=0.15,
                 spring=0.4, hug=1.0, gravity=0.0, tie=(0.0, 9.4, -1.4), wild=0.02, points=16,
                 clump=(0.010, 0.2), frizz=0.0002, density=200_000.0, tied="bun"),
    "ponytail": Style(lengths=((-9, 0.16), (0, 0.2), (12, 0.2)), layer=(0.001, 0.006), rise=0.15,
                      spring=0.4, hug=1.0, gravity=0.0, tie=(0.0, 6.6, -3.4), wild=0.02, points=16,
                      clump=(0.010, 0.2), frizz=0.0002, density=200_000.0, tied="tail"),
}  # fmt: skip
