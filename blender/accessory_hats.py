"""Hats: a crown over the skull, a brim round it or in front, and their trimmings."""

from __future__ import annotations

import bpy
import numpy as np

from blender.accessory_cloth import felt, knit, ribbon, straw, tweed, twill
from blender.accessory_dome import TURNS, Dome, dome_of, rings
from blender.accessory_head import Head
from blender.accessory_shapes import Shape, ellipsoid, grid_quads, shape_object, spline
from blender.hat_cover import SEATS
from blender.labels import LABELS
from blender.spec_accessories import Accessories

_HAIR = 0.45  # cm, least room between skull and crown
_BAND = 1.2  # cm that a brim's band reaches up inside the crown
HATS = ("beanie", "baseball cap", "bucket hat", "fedora", "straw hat", "flat cap", "beret")


def _profile(knots: list[tuple[float, float]], count: int) -> tuple[np.ndarray, np.ndarray]:
    line = spline(np.array(knots), count)
    return line[:, 0], line[:, 1]


def _cosine(dome: Dome, sharp: float = 1.0) -> np.ndarray:
    """1 in front .. 0 at the back (TURNS,)."""
    return ((1 + np.cos(dome.phi)) / 2) ** sharp


def _block(dome: Dome, knots: list[tuple[float, float]], count: int, ease: float, top: float
           ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Distances and heights (count, TURNS) of a blocked crown.

    Knots are (share of the outline, share of the height) from the middle of the top to the edge;
    `ease` and `top` are cm between skull and crown at the sides and above.
    """
    share, height = _profile(knots, count)
    reach = share[:, None] * (dome.wide + ease)
    return reach, height[:, None] * (dome.tall + top) + 0 * reach


def _round_brim(
    dome: Dome, width: float, drop: np.ndarray | float, ease: float, curl: float = 0.0
) -> Shape:
    """A brim all round, two-sided with a rounded edge; `drop` cm at its edge, `curl` back up.

    Its inner edge goes on as a band inside the crown, so that nothing shows between the two.
    """
    t = np.concatenate([np.linspace(0, 1, 8), [1.008], np.linspace(1, 0, 8)])
    under = np.concatenate([np.zeros(8), [0.09], np.full(8, 0.18)])
    drop = np.broadcast_to(drop, TURNS)
    base = dome.place((dome.wide + ease)[None], np.zeros((1, TURNS)))[0]
    tip = dome.place((dome.wide + ease + width)[None], -drop[None])[0]
    share = t[:, None] * dome.room(base, tip)
    up = -drop * share + curl * np.maximum(share - 0.55, 0.0) ** 2 - under[:, None]
    band = np.array([[_BAND], [0.5 * _BAND]]) + 0.0 * dome.phi
    reach = dome.wide + ease + np.concatenate([0.0 * band - 0.08, width * share])
    return rings(dome.place(reach, np.concatenate([band, up])))


def _visor(dome: Dome, length: float, spread: float, bow: float, ease: float) -> Shape:
    """The peak of a cap, two-sided: `spread` radians to each side, `bow` cm arched."""
    a = np.linspace(-1, 1, 33)
    angle = a * spread
    wide = np.interp(
        angle,
        np.linspace(-np.pi, np.pi, TURNS + 1),
        np.append(np.roll(dome.wide, TURNS // 2), dome.wide[TURNS // 2]),
    )
    x, z = (wide + ease - 0.25) * np.sin(angle), (wide + ease - 0.25) * np.cos(angle)
    reach = length * (1 - np.abs(a) ** 2.4) ** 0.75
    t = np.concatenate([np.linspace(0, 1, 7), np.linspace(1, 0, 7)])[:, None]
    under = np.concatenate([np.zeros(7), np.full(7, 0.24)])[:, None]
    across = x * (1 + 0.05 * t)
    up = 0.35 + bow * (1 - 1.15 * a**2) * np.minimum(1.5 * t, 1.0) - 1.7 * t - under
    points = np.stack([across, up, z + reach * t], axis=-1) @ dome.axes.T + dome.centre
    along = np.broadcast_to(reach * t, (14, 33)).reshape(-1)
    turn = np.stack([np.tile(np.cos(angle), 14), np.tile(np.sin(angle), 14), along], axis=1)
    return Shape(points.reshape(-1, 3), grid_quads(14, 33, loop=True), {"turn": turn})


def _beanie(dome: Dome) -> Shape:
    """A knitted cap with a turned-up cuff."""
    share, offset = _profile(
        [(0.0, 1.35), (0.12, 1.25), (0.35, 0.75), (0.60, 0.62), (0.685, 0.62), (0.69, 0.70),
         (0.69, 1.15), (0.73, 1.32), (0.85, 1.30), (0.97, 1.20), (1.0, 0.98), (0.985, 0.55),
         (0.93, 0.30)], 56)  # fmt: skip
    return rings(dome.over(share, offset))


def _cap(dome: Dome) -> list[Shape]:
    """A baseball cap: crown, peak, button."""
    share, offset = _profile([(0.0, 0.75), (0.3, 0.85), (0.7, 0.65), (1.0, 0.5), (1.0, 0.2)], 30)
    front = 0.9 * _cosine(dome, 3.0) * np.sin(np.pi * np.minimum(share, 1.0))[:, None] ** 1.5
    crown = rings(dome.over(share, offset[:, None] + front))
    top = dome.over(np.zeros(1), np.full(1, 0.8))[0].mean(axis=0)
    button = ellipsoid(top, (0.55, 0.55, 0.28), dome.axes[:, [0, 2, 1]])
    plain = np.tile([1.0, 0.0, 0.5], (len(button.points), 1))
    return [
        crown,
        _visor(dome, 6.4, 1.12, 1.3, 0.5),
        Shape(button.points, button.quads, {"turn": plain}),
    ]


def _fedora(dome: Dome) -> list[Shape]:
    """A felt hat: dented crown, brim turned up behind, ribbon."""
    knots = [(0.0, 0.90), (0.3, 0.925), (0.55, 1.0), (0.70, 1.03), (0.82, 0.95), (0.91, 0.6),
             (0.97, 0.25), (1.0, 0.0)]  # fmt: skip
    reach, height = _block(dome, knots, 30, 0.45, 1.7)
    level = np.clip(height / (dome.tall + 1.7), 0, 1)
    side = np.abs(np.sin(dome.phi))
    pinch = np.exp(-(((np.abs(((dome.phi + np.pi) % (2 * np.pi)) - np.pi) - 0.62) / 0.34) ** 2))
    reach = reach * (1 - 0.13 * pinch * np.clip(2 * level - 0.9, 0, 1))
    height = height * (1 - 0.03 * (1 - _cosine(dome)) + 0.02 * side)
    crown = rings(dome.clear(dome.place(reach, height), _HAIR))
    brim = _round_brim(
        dome, 5.2, 0.5 + 0.9 * _cosine(dome) - 0.9 * np.abs(np.sin(dome.phi)), 0.40, 3.2
    )
    return [crown, brim]


def _ribbon_of(dome: Dome, crown: Shape, tall: float) -> Shape:
    """A band round the foot of a crown, `tall` cm high: the crown's own surface, moved outwards."""
    local = (crown.points.reshape(-1, TURNS, 3) - dome.centre) @ dome.axes
    height = np.array([-0.05, 0.05, tall - 0.1, tall, tall])
    out = np.array([0.05, 0.14, 0.14, 0.10, -0.2])
    ring = np.empty((len(height), TURNS, 3))
    for turn in range(TURNS):
        side = local[:, turn][np.argsort(local[:, turn, 1], kind="stable")]
        for axis in (0, 2):
            ring[:, turn, axis] = np.interp(height, side[:, 1], side[:, axis])
    reach = np.hypot(ring[..., 0], ring[..., 2])
    ring[..., [0, 2]] *= (1.0 + out[:, None] / np.maximum(reach, 1e-9))[..., None]
    ring[..., 1] = height[:, None]
    return rings(ring @ dome.axes.T + dome.centre)


def _beret(dome: Dome) -> list[Shape]:
    """A soft flat disc that leans over a tight band, and its stalk."""
    knots = [(0.0, 1.0), (0.4, 1.0), (0.85, 0.90), (1.10, 0.68), (1.16, 0.48), (1.10, 0.30),
             (1.0, 0.14), (1.0, 0.05), (0.99, -0.03)]  # fmt: skip
    reach, height = _block(dome, knots, 36, 0.5, 0.4)
    soft = 0.25 * np.sin(3 * dome.phi + 0.6) + 0.18 * np.sin(5 * dome.phi + 2.0)
    swell = np.clip(reach / (dome.wide + 0.5) - 0.98, 0, 1)
    points = dome.place(reach + 3 * swell * soft, height)
    lean = np.clip(height / (dome.tall + 0.4), 0, 1)
    points += (
        (0.3 * lean + 5.0 * swell * (reach > 0))[..., None]
        * -dome.axes[:, 0]
        * (0.4 - 0.6 * np.sin(dome.phi)[None, :, None])
    )
    top = points[0].mean(axis=0) + 0.15 * dome.axes[:, 1]
    stalk = ellipsoid(top, (0.16, 0.45, 0.16), dome.axes)
    plain = np.tile([1.0, 0.0, 0.5], (len(stalk.points), 1))
    return [
        rings(dome.clear(points, _HAIR - 0.1)),
        Shape(stalk.points, stalk.quads, {"turn": plain}),
    ]


def _flat_cap(dome: Dome) -> list[Shape]:
    """A flat cap: a low crown that slopes down in front and is sewn to a short peak there."""
    behind = [(0.0, 1.0), (0.4, 0.975), (0.72, 0.84), (0.95, 0.55), (1.03, 0.28), (1.02, 0.10),
              (0.99, 0.0), (0.97, 0.02)]  # fmt: skip
    ahead = [(0.0, 1.0), (0.35, 0.93), (0.65, 0.66), (0.86, 0.36), (0.97, 0.13), (1.0, 0.02),
             (0.985, -0.045), (0.94, -0.035)]  # fmt: skip
    front = _cosine(dome, 2.2)
    reach, height = _block(dome, behind, 34, 0.55, 0.55)
    drawn, low = _block(dome, ahead, 34, 3.4, 0.55)
    points = dome.place(reach + front * (drawn - reach), height + front * (low - height))
    # A lining from the edge to the skull closes the cap from below.
    lining = dome.place((dome.wide + 0.12)[None], np.full((1, TURNS), 0.25))
    crown = rings(np.concatenate([dome.clear(points, _HAIR), lining]))
    return [crown, _visor(dome, 4.2, 0.98, 0.6, 0.5)]


def build_hat(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """The objects of one of HATS."""
    dome = dome_of(head, SEATS[worn.headwear])
    rgb, second = worn.headwear_rgb, worn.headwear_second_rgb
    kind = worn.headwear
    parts: list[tuple[Shape, bpy.types.Material]]
    if kind == "beanie":
        parts = [(_beanie(dome), knit(rgb, 64))]
    elif kind == "baseball cap":
        crown, visor, button = _cap(dome)
        sewn, rows = twill(rgb, panels=6), twill(rgb, rows=0.75)
        parts = [(crown, sewn), (visor, rows), (button, rows)]
    elif kind == "bucket hat":
        knots = [(0.0, 1.0), (0.45, 0.995), (0.72, 0.965), (0.80, 0.90), (0.88, 0.6), (1.0, 0.0)]
        crown = rings(dome.clear(dome.place(*_block(dome, knots, 26, 0.45, 0.6)), _HAIR))
        cloth = twill(rgb, rows=0.9)
        parts = [(crown, twill(rgb)), (_round_brim(dome, 3.6, 2.9, 0.40), cloth)]
    elif kind == "fedora":
        cloth = felt(rgb)
        crown, brim = _fedora(dome)
        parts = [(crown, cloth), (brim, cloth), (_ribbon_of(dome, crown, 3.0), ribbon(second))]
    elif kind == "straw hat":
        knots = [(0.0, 1.0), (0.35, 0.99), (0.62, 0.94), (0.84, 0.74), (0.95, 0.42), (1.0, 0.0)]
        crown = rings(dome.clear(dome.place(*_block(dome, knots, 26, 0.45, 1.3)), _HAIR))
        cloth = straw(rgb)
        wavy = 1.3 + 0.35 * np.sin(2 * dome.phi + 0.7) + 0.25 * np.sin(3 * dome.phi)
        parts = [(crown, cloth), (_round_brim(dome, 9.5, wavy, 0.40), cloth)]
        parts.append((_ribbon_of(dome, crown, 2.6), ribbon(second)))
    elif kind == "flat cap":
        cloth = tweed(rgb, second)
        parts = [(p, cloth) for p in _flat_cap(dome)]
    else:
        cloth = felt(rgb)
        parts = [(p, cloth) for p in _beret(dome)]
    label = LABELS["headwear"]
    return [shape_object("headwear", p, head.frame, m, label) for p, m in parts]
