"""Where hair grows, as functions of the neutral template position (numpy only).

Every function takes `npos` (N, 3): centimetres on the neutral template, x to the right of a viewer
in front, y up, z out of the face, origin at eye height, and returns weights (N,) in [0, 1].
Skin shaders tint with them and strands are drawn from them, so that both always agree.
"""

from __future__ import annotations

import numpy as np

# The hairline in profile: (z, y) from the nape to the forehead, cm. Hair grows above it.
_HAIRLINE = np.array(
    [
        (-6.0, -8.6), (-1.0, -8.4), (0.4, -7.4), (1.5, -5.6), (2.2, -3.6), (2.7, -1.0), (3.1, 0.9),
        (4.0, 2.0), (5.6, 2.1), (6.5, 1.2), (6.9, -1.6), (7.5, -2.4), (8.1, -2.0), (8.6, 0.2),
        (9.4, 2.6), (10.5, 4.0), (11.6, 4.9), (12.6, 6.0), (13.4, 6.7), (14.4, 7.0), (16.0, 7.0),
    ]
)  # fmt: skip
CROWN = np.array([0.0, 10.4, -0.8])  # cm, the whorl
# How strongly hair colours the scalp of styles that show it.
_TINT = {
    "buzz": 0.60, "crew": 0.70, "mohawk": 0.55, "undercut": 0.65, "quiff": 0.65, "cornrows": 0.35,
    "locs": 0.96, "coily": 0.85, "curly": 0.90, "afro": 0.90, "horseshoe": 0.70,
}  # fmt: skip
_SOFT = 0.55  # cm over which the hairline fades


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, cubic between (`low` > `high` turns it round)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def ripple(npos: np.ndarray, scale: float) -> np.ndarray:
    """A smooth deterministic wobble (N,) in [-1, 1] with waves about `scale` cm long."""
    x, y, z = (npos * (2 * np.pi / scale)).T
    return (np.sin(x + 1.3 * np.sin(0.7 * y)) + np.sin(0.8 * z + 0.4 * x + 2.0)) / 2


def hairline_height(npos: np.ndarray, recede: float = 0.0) -> np.ndarray:
    """Height of the hairline (N,), cm, beside each point; `recede` cm lifts the forehead's."""
    line = np.interp(npos[:, 2], _HAIRLINE[:, 0], _HAIRLINE[:, 1])
    return line + 0.3 * recede * smoothstep(10.5, 12.5, npos[:, 2])


def bays(npos: np.ndarray, recede: float, grow: float = 0.0) -> np.ndarray:
    """1 in the bald bays (N,) that eat into the hair above the temples: an M-shaped hairline."""
    if recede <= 0:
        return np.zeros(len(npos))
    corner = np.stack([np.abs(npos[:, 0]) - 4.7, npos[:, 1] - 7.0, npos[:, 2] - 12.4], axis=1)
    reach = np.linalg.norm(corner, axis=1) + 0.3 * ripple(npos, 2.6)
    size = 0.4 + 1.2 * recede - grow
    return smoothstep(size + 0.5, size - 0.5, reach)


def ear_weight(npos: np.ndarray) -> np.ndarray:
    """1 on the ears and the skin just behind them."""
    y, z = npos[:, 1], npos[:, 2]
    box = smoothstep(2.3, 3.0, z) * smoothstep(6.9, 6.5, z)
    return box * smoothstep(2.0, 1.5, y) * smoothstep(-5.4, -4.8, y)


def scalp_density(
    npos: np.ndarray, style: str = "short", recede: float = 0.0, grow: float = 0.0
) -> np.ndarray:
    """Weight (N,) of scalp hair; zero everywhere for the style 'bald'.

    `grow` cm moves the edge outwards: strands root a little past the tint beneath them.
    """
    if style == "bald":
        return np.zeros(len(npos))
    edge = hairline_height(npos, recede) + 0.22 * ripple(npos, 2.3)
    out = smoothstep(-_SOFT, _SOFT, npos[:, 1] - edge + grow) * (1.0 - ear_weight(npos))
    out = out * (1.0 - bays(npos, recede, grow))
    return out * _ring(npos, grow) if style == "horseshoe" else out


def scalp_tint(npos: np.ndarray, style: str = "short", recede: float = 0.0) -> np.ndarray:
    """How much the skin takes the hair's colour (N,): most at the crown, least where shaved."""
    crown = smoothstep(6.0, 3.0, np.linalg.norm(npos - CROWN, axis=1))
    weight = _TINT.get(style, 0.82 + 0.14 * crown)
    return scalp_density(npos, style, recede) * weight


def _ring(npos: np.ndarray, grow: float) -> np.ndarray:
    """What a bald crown leaves (N,): the sides and the back, lower towards the front."""
    rim = np.interp(npos[:, 2], [-4.0, 2.0, 8.0, 11.0], [5.6, 6.6, 6.0, 3.0])
    return smoothstep(0.9, -0.9, npos[:, 1] - rim - grow + 0.5 * ripple(npos, 3.1))


def zone_weight(npos: np.ndarray, zone: str) -> np.ndarray:
    """Where the long hair of a two-part style grows (N,): on 'top', or in a 'strip' (mohawk)."""
    if zone == "top":
        rim = np.interp(npos[:, 2], [-3.0, 2.0, 9.0, 12.0], [8.6, 7.2, 6.6, 6.0])
        return smoothstep(-0.35, 0.35, npos[:, 1] - rim + 0.15 * ripple(npos, 2.3))
    if zone == "strip":
        back = smoothstep(-2.0, 1.5, npos[:, 1])
        return back * smoothstep(2.3, 1.9, np.abs(npos[:, 0]) + 0.12 * ripple(npos, 2.3))
    raise ValueError(f"zone {zone!r} is unknown; use 'top' or 'strip'")


def rooting(npos: np.ndarray, part: float | None, recede: float = 0.0) -> np.ndarray:
    """How thickly strands root (N,), up to 1: most along the front hairline and the parting."""
    above = npos[:, 1] - hairline_height(npos, recede)
    front = smoothstep(2.2, 0.6, above) * smoothstep(8.0, 10.0, npos[:, 2])
    # Strands leave the whorl in all directions, which would bare it.
    crown = smoothstep(5.0, 2.0, np.linalg.norm(npos - CROWN, axis=1))
    if part is not None:
        line = smoothstep(1.4, 0.4, np.abs(npos[:, 0] - part)) * smoothstep(3.0, 6.0, npos[:, 1])
        crown = np.maximum(crown, line)
    return 0.55 + 0.45 * np.maximum(front, crown)


# The middle line of a brow from the nose outwards, cm: x, y, half height, combing angle (degrees).
BROW = np.array(
    [
        (1.15, 2.05, 0.26, 74), (1.6, 2.18, 0.38, 58), (2.4, 2.38, 0.40, 34), (3.3, 2.58, 0.36, 16),
        (4.2, 2.62, 0.29, -2), (5.0, 2.30, 0.19, -16), (5.7, 1.80, 0.08, -24),
    ]
)  # fmt: skip


def brow_density(npos: np.ndarray, thickness: float = 1.0, arch: float = 0.0) -> np.ndarray:
    """Weight (N,) of brow hair; `thickness` scales the band's height, `arch` (-1..1) bends it."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    middle = np.interp(x, BROW[:, 0], BROW[:, 1]) + arch * _bend(x)
    half = np.interp(x, BROW[:, 0], BROW[:, 2]) * thickness
    band = smoothstep(1.1, 0.25, np.abs(y - middle) / half)
    inner = 0.35 + 0.65 * smoothstep(1.1, 2.4, x)  # thinner where it begins
    band = band * inner * smoothstep(1.0, 1.4, x)
    return band * smoothstep(5.9, 5.0, x) * smoothstep(9.0, 10.0, z)


def _bend(x: np.ndarray) -> np.ndarray:
    """What an arch adds to a brow's height (N,), cm: up in its outer half, down at both ends."""
    return 0.26 * np.exp(-(((x - 3.8) / 1.3) ** 2)) - 0.12


def _line(x: np.ndarray, knots: tuple[tuple[float, float], ...]) -> np.ndarray:
    table = np.array(knots)
    return np.interp(x, table[:, 0], table[:, 1])


_CHEEK = ((2.0, -5.5), (3.2, -6.4), (4.6, -6.6), (5.8, -5.4), (6.6, -2.6), (7.4, 0.3))
_BOXED = ((2.0, -5.6), (3.2, -7.2), (4.6, -7.8), (5.6, -7.0), (6.5, -3.6), (7.2, 0.3))
_JAW = ((0.0, -11.2), (2.0, -10.9), (3.6, -9.9), (4.8, -8.6), (5.8, -6.9), (6.6, -4.4), (7.2, 0.0))
# How far back a chin strap reaches under the jaw, z in cm by x: behind it the throat is bare.
_STRAP = ((0.0, 11.4), (2.0, 10.7), (3.0, 9.7), (4.0, 8.3), (5.0, 6.9), (6.0, 4.6))


def _full(npos: np.ndarray, edge: tuple[tuple[float, float], ...] = _CHEEK) -> np.ndarray:
    """Cheeks below `edge`, jaw, chin and the upper throat; the moustache with them."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    wobble = 0.2 * ripple(npos, 1.7)
    soft = 0.6 if edge is _CHEEK else 0.3
    out = smoothstep(soft, -soft, y - _line(x, edge) + wobble)
    out = out * smoothstep(-13.2, -11.6, y + wobble)  # the lower edge, under the jaw
    return out * smoothstep(5.6, 6.6, z + 0.3 * np.maximum(-y - 8.0, 0.0))


def _moustache(x: np.ndarray, y: np.ndarray, reach: float = 3.0) -> np.ndarray:
    return smoothstep(-7.3, -6.7, y) * smoothstep(reach + 0.4, reach - 0.3, x + 0.5 * (y + 6.0))


def _chin(x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    return smoothstep(-8.5, -9.1, y) * smoothstep(width + 0.4, width - 0.3, x)


def _soul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    drop = np.clip((-8.3 - y) / 1.5, 0.0, 1.0)
    band = smoothstep(-8.2, -8.5, y) * smoothstep(-10.0, -9.5, y)
    return band * smoothstep(0.95, 0.6, x + 0.35 * drop)


def beard_density(npos: np.ndarray, style: str = "full") -> np.ndarray:
    """Weight (N,) of a beard of `style`; zero everywhere for 'none'.

    Raises ValueError for a style that is not known.
    """
    x, y = np.abs(npos[:, 0]), npos[:, 1]
    if style == "none":
        return np.zeros(len(npos))
    if style in ("stubble", "full", "long"):
        out = _full(npos)
    elif style == "boxed":
        out = _full(npos, _BOXED)
    elif style in ("moustache", "handlebar"):
        out = _full(npos) * _moustache(x, y)
    elif style == "goatee":
        out = _full(npos) * np.maximum(_chin(x, y, 2.1), _soul(x, y))
    elif style == "vandyke":
        parts = np.maximum(_chin(x, y, 1.7), _soul(x, y))
        out = _full(npos) * np.maximum(parts, _moustache(x, y, 2.7))
    elif style == "circle":
        corner = smoothstep(2.2, 2.5, x) * smoothstep(3.6, 3.2, x) * smoothstep(-5.7, -6.4, y)
        corner = corner * smoothstep(-9.8, -9.2, y)
        parts = np.maximum(_chin(x, y, 3.1), corner)
        out = _full(npos) * np.maximum(np.maximum(parts, _soul(x, y)), _moustache(x, y))
    elif style == "soulpatch":
        out = _full(npos) * _soul(x, y)
    elif style == "mutton":
        end = smoothstep(3.1, 3.7, x + 0.4 * (y + 8.0))  # the chin stays bare
        out = _full(npos) * end * smoothstep(-11.6, -10.8, y)
    elif style == "chinstrap":
        band = np.abs(y - _line(x, _JAW)) + 0.12 * ripple(npos, 1.7)
        front = smoothstep(-0.5, 0.4, npos[:, 2] - _line(x, _STRAP) + 0.2 * ripple(npos, 1.7))
        out = _full(npos) * smoothstep(1.15, 0.75, band) * front
    else:
        raise ValueError(f"beard {style!r} is unknown; use one of spec_hair.BeardStyle")
    return out * (1.0 - lip_weight(npos)) * (1.0 - 0.75 * _soul_gap(x, y))


def _soul_gap(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The thin places beside the middle of the lower lip."""
    return np.exp(-(((x - 1.3) / 0.55) ** 2) - ((y + 8.9) / 0.45) ** 2)


def lip_weight(npos: np.ndarray) -> np.ndarray:
    """1 on the lips, inside the mouth and on the underside of the nose, where nothing grows."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    lips = smoothstep(1.15, 0.9, np.hypot(x / 2.75, (y + 7.25) / 1.15))
    nose = smoothstep(1.15, 0.9, np.hypot(x / 1.6, (y + 4.0) / 1.35))
    inner = smoothstep(12.6, 12.0, z) * (x < 2.5) * (y > -9.0)
    return np.maximum(np.maximum(lips, nose), inner)
