"""Glasses: fitted to eyes, nose, cheeks and ears, built in the head frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import bpy
import numpy as np

from blender.accessory_frames import FRAMES, Frame, outline
from blender.accessory_head import Head
from blender.accessory_materials import acetate, lens, metal
from blender.accessory_shapes import (
    Shape,
    ellipsoid,
    grid_quads,
    merge,
    mirrored,
    rounded,
    shape_object,
    spline,
    sweep,
    tube,
    unit,
)
from blender.labels import LABELS
from blender.spec_accessories import LENSES, METALS, Accessories

_TILTS = (7.0, 11.0, 2.0, -3.0)  # degrees that the top of the front may lean forward
_WRAP = 0.012  # 1/cm, how the front bends round the face
_GAP = 0.16  # cm, least distance of the rims from the skin
_LASHES = 0.12  # cm, of the lenses from the lashes
_BRIDGE = 0.82  # cm, least half distance of the lenses
_EAR = (7.38, 0.42, 5.1)  # cm, template point on top of the root of the ear
_ALONG = np.linspace(-1.0, 1.0, 15)


@dataclass(frozen=True)
class Front:
    """The bent plane of the lenses: u across, v up, w forward, in cm about the eyes' middle."""

    origin: np.ndarray  # (3,) cm, head frame
    middle: tuple[float, float]  # cm u, v of the lens at positive x
    tilt: float  # degrees that the top leans forward

    def place(self, uvw: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the front in the head frame."""
        u, v, w = uvw[..., 0], uvw[..., 1], uvw[..., 2] - _WRAP * uvw[..., 0] ** 2
        c, s = np.cos(np.radians(self.tilt)), np.sin(np.radians(self.tilt))
        return self.origin + np.stack([u, c * v - s * w, s * v + c * w], axis=-1)


def _flat(uv: np.ndarray, w: float = 0.0) -> np.ndarray:
    return np.concatenate([uv, np.full((*uv.shape[:-1], 1), w)], axis=-1)


def fit(head: Head, frame: Frame) -> Front:
    """Where the front sits: as near to the eyes as lashes, brows and cheeks allow."""
    across = max(head.eye_x * 1.03, frame.half_width + _BRIDGE + frame.rim / 2)
    middle = (across, -frame.drop)
    edge = outline(frame)[::2]
    out = edge * (1.0 + frame.rim / np.linalg.norm(edge, axis=1, keepdims=True))
    rim = np.concatenate(
        [_flat(edge + middle, -frame.depth / 2), _flat(out + middle, -frame.depth / 2)]
    )
    rim = np.concatenate([rim, rim * [-1.0, 1.0, 1.0]])
    near = head.lash_z + _LASHES + _WRAP * head.eye_x**2
    best = None
    for tilt in _TILTS:  # the usual one unless another brings the lenses clearly nearer
        front = Front(np.array([0.0, head.eye_y, near]), middle, tilt)
        for _ in range(8):
            short = max(_GAP - head.clearance(front.place(rim)).min(), 0.0)
            front.origin[2] += 0.95 * short
        if best is None or front.origin[2] < best.origin[2] - 0.1:
            best = front
    assert best is not None
    return best


def sized(head: Head, frame: Frame) -> Frame:
    """The frame in the size that suits the head's width."""
    width = abs(head.landmark(_EAR)[0]) - 0.5
    usual = 2 * frame.half_width + _BRIDGE + 1.5 * frame.rim
    scale = float(np.clip((width - _BRIDGE) / (usual - _BRIDGE), 0.92, 1.10))
    return replace(frame, half_width=frame.half_width * scale)


def _rim(front: Front, frame: Frame, width: float, depth: float, part: slice) -> Shape:
    """A rim along (a part of) the lens's edge."""
    path = front.place(_flat(outline(frame) + front.middle))
    closed = part == slice(None)
    section = rounded(depth, width, 4.0 if width > 0.2 else 2.0)
    outwards = unit(path - front.place(_flat(np.array(front.middle))))
    run = np.roll(path, -part.start, axis=0)[: part.stop - part.start] if not closed else path
    up = np.roll(outwards, -part.start, axis=0)[: len(run)] if not closed else outwards
    return sweep(run + up * (width / 2 - 0.03), section, up, closed=closed)


def _lens(front: Front, frame: Frame) -> Shape:
    """The glass: rings from the middle to the edge."""
    share = np.array([0.0, 0.35, 0.65, 0.85, 1.0])[:, None, None]
    uv = share * outline(frame)[None]
    height = 0.5 - uv[..., 1] / (2 * frame.half_height)
    bulge = 0.10 * (1 - share[..., 0] ** 2) + 0.0 * height
    flat = np.concatenate([uv + front.middle, bulge[..., None]], axis=-1)
    quads = grid_quads(*uv.shape[:2], wrap=True)
    fade = np.clip(height.reshape(-1), 0.0, 1.0)
    return Shape(front.place(flat).reshape(-1, 3), quads, {"fade": fade})


def _bridges(head: Head, front: Front, frame: Frame) -> list[Shape]:
    """The bars over the nose, arched as far as it needs."""
    out = []
    inner = front.middle[0] - frame.half_width + 0.05
    thick = 0.09 if frame.metal else 0.22
    tall = 0.11 if frame.metal else 0.50
    heights = (0.42, 1.35)[: frame.bars] if not frame.brow else (0.55,)
    for v in heights:
        reach = inner + (0.12 if v > 1 else 0.0)
        uvw = np.stack([_ALONG * reach, v + 0.0 * _ALONG, 0.0 * _ALONG], axis=1)
        arch = 0.12 * (1 - _ALONG**2)
        for _ in range(12):
            uvw[:, 2] = arch
            short = 0.10 + thick / 2 - head.clearance(front.place(uvw))
            arch = arch + 0.9 * max(float(short[2:-2].max()), 0.0) * (1 - _ALONG**4)
        uvw[:, 1] += 0.16 * (1 - _ALONG**2)
        stretch = np.stack([1.0 + 0 * _ALONG, 1.0 + (0 if frame.metal else 0.9) * _ALONG**4], 1)
        path = front.place(uvw)
        out.append(sweep(path, rounded(thick, tall, 3.0), np.array([0.0, 1.0, 0.0]), scale=stretch))
    return out


def _pads(head: Head, front: Front, frame: Frame) -> list[Shape]:
    """The pad at positive x, on the side of the nose, and the arm that holds it."""
    inner = front.middle[0] - frame.half_width
    spot = front.place(np.array([0.5, -0.62, -0.42]))
    for _ in range(12):  # outwards, until it lies on the nose
        spot[0] += 0.9 * max(0.09 - float(head.clearance(spot)), 0.0)
    side = unit(np.array([0.78, 0.10, 0.62]))
    up = unit(np.cross(side, np.cross([0.12, 1.0, 0.0], side)))
    axes = np.stack([side, up, np.cross(side, up)], axis=1)
    pad = ellipsoid(spot, (0.09, 0.36, 0.20), axes)
    root = front.place(np.array([inner, -0.10 if frame.metal else -0.45, -0.02]))
    back = (root + spot) / 2 + [0.05, 0.0, -0.22 if frame.metal else 0.0]
    arm = tube(spline(np.stack([root, back, spot]), 9), 0.04 if frame.metal else 0.10)
    return [pad, arm]


def temple_path(head: Head, front: Front, frame: Frame, side: float) -> np.ndarray:
    """The middle line (40, 3) of a temple from its hinge to behind the ear; `side` is -1 or 1."""
    root = head.landmark((side * _EAR[0], *_EAR[1:]))
    edge = outline(frame)
    reach = edge[:, 0].max() + front.middle[0] + frame.rim / 2 + 0.15
    u = max(reach, abs(root[0]) - 0.25)
    v = front.middle[1] + frame.hinge * frame.half_height + frame.lift * 0.6
    hinge = front.place(np.array([side * u, v, -0.10]))
    rest = root + np.array([side * 0.16, 0.10 + frame.temple / 2, 0.0])
    over = np.stack([hinge + (rest - hinge) * t for t in np.linspace(0, 1, 8)])
    behind = root + np.array([[side * 0.10, 0.0, -0.95], [-side * 0.02, -0.95, -1.55],
                              [-side * 0.22, -2.1, -1.85]])  # fmt: skip
    path = spline(np.concatenate([over, behind]), 40)
    free = path[:, 2] > root[2] + 0.5
    for _ in range(6):
        short = np.maximum(0.12 - head.clearance(path), 0.0)
        path[:, 0] += side * np.where(free, short, 0.0)
    return np.where(free[:, None], path, head.push(path, 0.10))


def _temple(head: Head, front: Front, frame: Frame, side: float) -> list[Shape]:
    """The temple of one side, its end piece and hinge."""
    path = temple_path(head, front, frame, side)
    t = np.linspace(0, 1, len(path))
    tall = np.interp(t, [0, 0.1, 0.6, 0.75, 1], [1.0, 0.9, 0.75, 0.8, 0.95]) * frame.temple
    if frame.metal and not frame.brow:
        tall = np.interp(t, [0, 0.70, 0.74, 1], [0.13, 0.13, 0.26, 0.24])
    thin = np.interp(t, [0, 1], [0.20, 0.16]) if frame.temple > 0.2 else 0.8 * tall
    up = np.array([0.0, 1.0, 0.35])
    bar = sweep(path, rounded(2.0, 2.0, 3.5), up, scale=np.stack([thin, tall], axis=1) / 2)
    edge = outline(frame) + front.middle
    v = front.middle[1] + frame.hinge * frame.half_height + frame.lift * 0.6
    outer = edge[edge[:, 0] > front.middle[0] + 0.4 * frame.half_width]
    joint = outer[np.abs(outer[:, 1] - v).argmin()]
    start = front.place(np.array([side * (joint[0] + 0.05), joint[1], 0.0]))
    corner = path[0] + [-side * 0.10, 0.0, 0.10]
    knots = np.stack([start, (start + corner) / 2 + [0.0, 0.0, 0.04], corner, path[0], path[1]])
    high = 0.15 if frame.metal and not frame.brow else frame.temple
    piece = sweep(
        spline(knots, 14), rounded(0.16 if frame.metal else 0.26, high, 3.5), np.array([0.0, 1, 0])
    )
    screw = ellipsoid(path[0] + [-side * 0.08, 0.0, -0.12], (0.10, 0.12, 0.14))
    return [bar, piece, screw]


def build_glasses(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """The frame (and its second material) and the lenses."""
    frame = sized(head, FRAMES[worn.glasses])
    front = fit(head, frame)
    pads = _pads(head, front, frame)
    wire = [*_bridges(head, front, frame), *pads, *(mirrored(p) for p in pads)]
    thick: list[Shape] = []
    ring = _rim(front, frame, frame.rim, frame.depth, slice(None))
    wire += [ring, mirrored(ring)]
    if frame.brow:
        bar = _rim(front, frame, 0.42, 0.26, slice(0, 36))
        thick += [bar, mirrored(bar)]
    for side in (-1.0, 1.0):
        (thick if frame.brow else wire).extend(_temple(head, front, frame, side))
    shine = METALS.get(worn.glasses_colour)
    mottled = worn.glasses_colour == "tortoiseshell"
    plastic = acetate(worn.glasses_rgb, mottled)
    label = LABELS["glasses"]
    main = metal(shine or worn.glasses_rgb) if frame.metal and not frame.brow else plastic
    if frame.brow:
        main = metal(METALS["silver"])
    out = [shape_object("glasses", merge(wire), head.frame, main, label)]
    if thick:
        out.append(shape_object("glasses_brow", merge(thick), head.frame, plastic, label))
    glass = _lens(front, frame)
    both = merge([glass, mirrored(glass)])
    tint = LENSES[worn.lenses]
    # Ground truth looks through objects whose name starts with "lens".
    name = "lenses" if tint is None else "tinted_lenses"
    return [*out, shape_object(name, both, head.frame, lens(tint), label)]
