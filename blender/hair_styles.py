"""The hair styles as numbers. Lengths in metres, template positions in cm (x, y up, z front)."""

from __future__ import annotations

from dataclasses import dataclass, replace

BALD = "bald"
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Style:
    """What a style asks of the guide strands and of the node groups after them."""

    lengths: tuple[tuple[float, float], ...]  # (height of the root in cm, strand length in m)
    front: float = 1.0  # scale of the lengths at the forehead
    ball: tuple[Point, Point] | None = None  # centre and radii in cm: what hair is trimmed to
    roof: float | None = None  # cm, height that hair on top is trimmed to
    layer: tuple[float, float] = (0.002, 0.012)  # m, the shells above the skin that strands lie in
    rise: float = 0.5  # 0..1, how far strands start outwards rather than combed flat
    spring: float = 0.55  # 0..1, how much a strand keeps its direction from step to step
    hug: float = 1.0  # 0..1, pull towards its own shell
    gravity: float = 0.5  # weight of falling
    sweep: tuple[float, float] = (0.0, 0.0)  # combing on top: (away from the parting, to the front)
    over: float = 0.0  # combing on top: all to one side
    whorl: float = 0.0  # combing on top: away from the whorl at the crown
    lift: float = 0.0  # combing on top: up, most at the forehead
    flank: tuple[float, float] = (0.3, -0.3)  # combing on the sides: (down, to the front)
    part: float | None = None  # cm, x of the parting; None for no parting
    ties: tuple[Point, ...] = ()  # cm, places for the tie; one with x > 0 has a mirror image
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
    tied: str | None = None  # what hangs on the tie: 'bun', 'tail' or 'plait'
    coil: float = 0.026  # m, radius of a bun
    spread: float = 0.08  # relative spread of the lengths
    zone: str | None = None  # where it grows, see `hair_mask.zone_weight`; None for everywhere
    under: Style | None = None  # what grows all over beneath it
    ropes: str | None = None  # strands gathered into 'cornrows' or 'locs' instead of let loose


_BUZZ = Style(
    lengths=((-9, 0.003), (-2, 0.005), (6, 0.007), (12, 0.008)),
    layer=(0.001, 0.004), rise=0.75, hug=0.2, flank=(0.8, -0.2), sweep=(0.0, 0.6), wild=0.25,
    density=420_000.0, radius=0.00026, points=4, clump=(0.004, 0.0), frizz=0.0,
)  # fmt: skip
_FADE = replace(_BUZZ, lengths=((-9, 0.002), (-2, 0.003), (4, 0.005), (12, 0.006)))
_SHORT = Style(
    lengths=((-9, 0.008), (-3, 0.014), (3, 0.022), (6.5, 0.036), (9, 0.058), (12, 0.066)),
    layer=(0.003, 0.016), rise=0.7, spring=0.70, hug=0.7, gravity=0.15, sweep=(0.9, 0.45),
    whorl=0.5, flank=(0.9, -0.35), part=-3.2, wild=0.10, clump=(0.012, 0.25), frizz=0.0006,
    density=240_000.0,
)  # fmt: skip
_LONG = Style(
    lengths=((-9, 0.22), (0, 0.27), (6, 0.34), (12, 0.40)),
    layer=(0.002, 0.014), rise=0.6, spring=0.5, gravity=0.9, sweep=(0.8, -0.35),
    flank=(0.9, -0.25), part=0.4, cut=-22.5, wild=0.04, points=24, clump=(0.012, 0.22),
    frizz=0.0006, density=190_000.0,
)  # fmt: skip
_BOB = replace(
    _LONG, lengths=((-9, 0.05), (0, 0.14), (6, 0.24), (12, 0.30)), layer=(0.003, 0.018),
    cut=-9.6, part=2.6, points=20, clump=(0.016, 0.25), frizz=0.0004,
)  # fmt: skip
_CURLY = Style(
    lengths=((-9, 0.016), (-4, 0.028), (2, 0.044), (8, 0.060), (12, 0.064)),
    layer=(0.008, 0.024), rise=1.0, spring=0.84, hug=0.0, gravity=0.30, flank=(0.4, -0.5),
    wild=0.16, density=290_000.0, radius=0.00042, points=12, clump=(0.007, 0.30),
    curl=(0.0046, 5.0), frizz=0.0016,
)  # fmt: skip
_TIED = Style(
    lengths=((-9, 0.16), (0, 0.2), (12, 0.2)), layer=(0.001, 0.006), rise=0.15, spring=0.4,
    hug=1.0, gravity=0.0, wild=0.02, points=16, clump=(0.010, 0.2), frizz=0.0002,
    density=220_000.0,
)  # fmt: skip
_QUIFF = replace(
    _SHORT, lengths=((-9, 0.010), (7, 0.018), (9, 0.040), (12, 0.060)), front=1.2, lift=1.5,
    sweep=(0.25, -0.65), whorl=0.0, part=None, hug=0.12, rise=0.85, spring=0.8, zone="top",
    under=replace(_FADE, lengths=((-9, 0.003), (0, 0.006), (6, 0.012), (12, 0.014))), wild=0.07,
    clump=(0.014, 0.35),
)  # fmt: skip

STYLES: dict[str, Style] = {
    "buzz": _BUZZ,
    "crew": replace(_BUZZ, lengths=((-9, 0.003), (-2, 0.005), (4, 0.008), (8, 0.018), (12, 0.022)),
                    layer=(0.002, 0.02), rise=0.9, hug=0.0, gravity=0.0, sweep=(0.0, 0.35),
                    lift=0.6, wild=0.16, front=1.15, density=340_000.0, radius=0.00030, points=6),
    "flattop": replace(_BUZZ, lengths=((-9, 0.003), (-2, 0.004), (3, 0.007), (6, 0.03), (12, 0.06)),
                       roof=14.6, layer=(0.002, 0.03), rise=1.0, hug=0.0, gravity=0.0, spring=0.9,
                       lift=1.0, flank=(0.1, -0.1), wild=0.05, density=380_000.0, radius=0.00034,
                       points=8, spread=0.02, frizz=0.0008),
    "horseshoe": replace(_SHORT, lengths=((-9, 0.008), (-3, 0.016), (3, 0.022), (7, 0.026)),
                         part=None, sweep=(0.0, -0.2), flank=(0.8, -0.6), hug=0.9, rise=0.4,
                         layer=(0.002, 0.009)),
    "short": _SHORT,
    "sidepart": replace(_SHORT, lengths=((-9, 0.006), (-3, 0.010), (3, 0.017), (6.5, 0.03),
                                         (9, 0.065), (12, 0.095)),
                        sweep=(1.0, 0.05), whorl=0.0, part=-3.9, layer=(0.003, 0.014), hug=0.95,
                        lift=0.35, wild=0.03, clump=(0.012, 0.15), frizz=0.0002),
    "slick": replace(_SHORT, sweep=(0.0, -1.0), whorl=0.0, part=None, layer=(0.002, 0.012),
                     lengths=((-9, 0.010), (-4, 0.018), (2, 0.030), (6, 0.065), (12, 0.095)),
                     flank=(0.45, -0.9), hug=0.95, rise=0.6, frizz=0.0003),
    "quiff": _QUIFF,
    "undercut": replace(_QUIFF, lengths=((-9, 0.05), (6, 0.075), (12, 0.115)), front=1.0, lift=0.25,
                        sweep=(0.0, -0.25), over=1.0, hug=0.9, spring=0.6, layer=(0.003, 0.024),
                        under=_FADE, clump=(0.014, 0.3), rise=0.6, flank=(0.9, -0.3), gravity=0.3),
    "mohawk": replace(_QUIFF, lengths=((-9, 0.03), (2, 0.045), (8, 0.055), (12, 0.055)), front=1.0,
                      lift=1.0, sweep=(0.0, -0.1), flank=(-0.1, -0.8), hug=0.0, rise=1.0,
                      spring=0.95, wild=0.05, zone="strip", under=_FADE, gravity=0.0,
                      clump=(0.012, 0.6), density=420_000.0),
    "pixie": replace(_SHORT, lengths=((-9, 0.026), (-3, 0.030), (3, 0.050), (6.5, 0.075), (9, 0.09),
                                      (12, 0.095)),
                     sweep=(1.0, 0.75), whorl=0.7, part=-3.4, fringe=3.2, flank=(0.9, 0.05),
                     hug=0.9, layer=(0.002, 0.014), spread=0.2, clump=(0.014, 0.4)),
    "curly": _CURLY,
    "coily": replace(_CURLY, lengths=((-9, 0.008), (-4, 0.013), (2, 0.018), (12, 0.022)),
                     gravity=0.0, flank=(0.05, -0.2), layer=(0.004, 0.012), wild=0.10, points=8,
                     curl=(0.0024, 4.0), clump=(0.006, 0.35), frizz=0.0012, density=330_000.0),
    "afro": replace(_CURLY, lengths=((-9, 0.09), (12, 0.09)), ball=((0, 5.2, 3.6), (13.0, 12, 13)),
                    gravity=0.0, flank=(0.05, -0.2), wild=0.06, curl=(0.0040, 7.0), frizz=0.0034,
                    clump=(0.007, 0.06), density=300_000.0, spread=0.03, points=14),
    "bob": _BOB,
    "lob": replace(_BOB, cut=-15.0, part=-2.8, lengths=((-9, 0.10), (0, 0.2), (6, 0.28),
                                                        (12, 0.34)), points=22),
    "ringlets": replace(_BOB, cut=-13.0, lengths=((-9, 0.08), (0, 0.18), (6, 0.27), (12, 0.32)),
                        part=-2.2, layer=(0.006, 0.026), curl=(0.0095, 6.0), clump=(0.020, 0.75),
                        frizz=0.0012, points=22, spread=0.12),
    "long": _LONG,
    "wavy": replace(_LONG, layer=(0.004, 0.024), wave=(0.0075, 0.055), clump=(0.014, 0.35),
                    frizz=0.0010, cut=-21.0, part=-2.4, points=32),
    "fringe": replace(_LONG, layer=(0.001, 0.010), fringe=1.6, part=None, cut=-19.0, whorl=1.0,
                      clump=(0.014, 0.3), sweep=(0.0, 0.15)),
    "shag": replace(_LONG, layer=(0.004, 0.028), wave=(0.006, 0.050), clump=(0.016, 0.45),
                    frizz=0.0012, cut=-14.5, fringe=2.4, part=None, whorl=1.0, sweep=(0.0, 0.1),
                    lengths=((-9, 0.10), (0, 0.15), (6, 0.20), (12, 0.26)), spread=0.3, points=28),
    "bun": replace(_TIED, tied="bun", ties=((0, 9.4, -1.4), (0, 4.6, -4.4), (0, -0.6, -4.4))),
    "topknot": replace(_TIED, tied="bun", ties=((0, 12.4, 2.2),), coil=0.022),
    "spacebuns": replace(_TIED, tied="bun", ties=((5.0, 10.6, 2.2),), part=0.0, coil=0.022),
    "ponytail": replace(_TIED, tied="tail", ties=((0, 6.6, -3.4), (0, 10.4, -1.2), (0, 0, -4.4))),
    "pigtails": replace(_TIED, tied="tail", ties=((6.6, 4.6, -1.2), (5.6, -3.0, -1.6)), part=0.0),
    "braids": replace(_TIED, tied="plait", ties=((5.4, -5.4, 0.0),), part=0.0),
    "cornrows": replace(_TIED, ropes="cornrows"),
    "locs": replace(_LONG, ropes="locs", layer=(0.005, 0.020), part=0.8, cut=-17.0, points=40,
                    lengths=((-9, 0.12), (0, 0.18), (6, 0.24), (12, 0.30)), wild=0.05, spread=0.2,
                    rise=0.75, sweep=(0.6, -0.5)),
}  # fmt: skip
