"""Guide strands: a vectorised march over the head, with the person as the collider.

Directions are thought out in the head's own axes (right, up, front), so a style looks the same on
a turned head; positions and lengths are world metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.hair_collide import Collider
from blender.hair_mask import CROWN, hairline_height, ripple, smoothstep
from blender.hair_styles import Style

_TURN = np.radians(40)  # by which strands wind about the whorl
STEPS = 40  # of the march, a strand; each strand has steps of its own length


@dataclass(frozen=True)
class HeadFrame:
    """The similarity that takes the neutral template (cm) to this posed head (m)."""

    axes: np.ndarray  # (3, 3), columns right, up, front in world
    origin: np.ndarray  # (3,) m
    scale: float  # world metres a template centimetre

    def to_template(self, points: np.ndarray) -> np.ndarray:
        """World metres (..., 3) to template centimetres (..., 3)."""
        return (points - self.origin) @ self.axes / self.scale

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Template centimetres (..., 3) to world metres (..., 3)."""
        return points @ self.axes.T * self.scale + self.origin


def fit_head_frame(template: np.ndarray, world: np.ndarray) -> HeadFrame:
    """Least-squares similarity of template (N, 3) cm onto world (N, 3) m (Umeyama 1991)."""
    mean_t, mean_w = template.mean(axis=0), world.mean(axis=0)
    a, b = template - mean_t, world - mean_w
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    axes = (u * flip) @ vt
    scale = float((s * flip).sum() / (a * a).sum())
    return HeadFrame(axes, mean_w - scale * axes @ mean_t, scale)


def face_shadow(t: np.ndarray) -> np.ndarray:
    """1 in the space in front of the face (template cm), where no long strand belongs."""
    width = smoothstep(7.4, 6.0, np.abs(t[..., 0]))
    line = hairline_height(t.reshape(-1, 3)).reshape(t.shape[:-1])
    below = smoothstep(-0.4, -1.3, t[..., 1] - line)
    return width * smoothstep(8.6, 10.2, t[..., 2]) * below


def throat_shadow(t: np.ndarray) -> np.ndarray:
    """1 in the space before the throat (template cm), under the chin and above the chest."""
    width = smoothstep(5.6, 4.4, np.abs(t[..., 0]))
    return width * smoothstep(3.0, 4.5, t[..., 2]) * smoothstep(-8.0, -9.0, t[..., 1])


def _field(style: Style, side: np.ndarray, lead: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Combing directions (N, 3) in head axes at template points t (N, 3).

    `side` (N,) is -1 or 1: which side of the parting a strand started on; `lead` (N,) in [0, 1]:
    how much it belongs to the front, and so falls before the shoulder.
    """
    if style.ties:
        to_tie = tie_points(style, side) - t
        return to_tie / np.maximum(np.linalg.norm(to_tie, axis=1, keepdims=True), 0.5)
    top = smoothstep(4.5, 9.0, t[:, 1])
    away, forward = style.sweep
    down, flank_forward = style.flank
    out = np.zeros_like(t)
    # Behind the crown hair just falls: combed apart there, it would bare a line of scalp.
    out[:, 0] = top * (away * side * smoothstep(0.0, 4.5, t[:, 2]) + style.over)
    out[:, 1] = -(1 - top) * down - style.gravity
    out[:, 1] += top * style.lift * (0.6 + 0.4 * smoothstep(4.0, 10.0, t[:, 2]))
    out[:, 2] = top * forward + (1 - top) * flank_forward
    if style.whorl > 0:
        ray = t[:, [0, 2]] - CROWN[[0, 2]]
        ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 0.6)
        ray = ray @ np.array([[np.cos(_TURN), np.sin(_TURN)], [-np.sin(_TURN), np.cos(_TURN)]])
        out[:, [0, 2]] += style.whorl * top[:, None] * ray
    # Hair at the sides parts round the ear's front and never turns onto the cheek.
    if style.fringe is None:
        shadow = np.maximum(face_shadow(t), throat_shadow(t))
        out[:, 0] += 1.6 * shadow * np.sign(t[:, 0])
        out[:, 2] -= 1.2 * shadow
    # Below the chin: keep to the neck, fall before or behind the shoulders.
    low = smoothstep(-6.0, -11.0, t[:, 1])
    out[:, 0] -= low * 0.10 * np.clip(t[:, 0] - np.sign(t[:, 0]) * 7.5, -4, 4)
    out[:, 2] += low * np.where(lead > 0.5, 0.55, -0.45)
    return out


def tie_points(style: Style, side: np.ndarray) -> np.ndarray:
    """The tie (N, 3), template cm, of strands on each `side` (N,), -1 or 1."""
    tie = np.tile(style.ties[0], (len(side), 1)).astype(float)
    tie[:, 0] *= side
    return tie


def strand_lengths(
    style: Style, t: np.ndarray, normals: np.ndarray, centimetre: float
) -> np.ndarray:
    """Strand lengths (N,) in metres for roots at template points t (N, 3).

    normals (N, 3) in head axes; `centimetre` of the template in metres.
    """
    table = np.array(style.lengths)
    out = np.interp(t[:, 1], table[:, 0], table[:, 1])
    out *= 1 + (style.front - 1) * smoothstep(8.0, 12.0, t[:, 2])
    if style.roof is not None:
        room = (style.roof - t[:, 1]) / np.maximum(normals[:, 1], 0.25) * centimetre
        out = np.minimum(out, np.maximum(room, 0.003))
    if style.ball is not None:
        centre, radii = np.array(style.ball)
        p, d = (t - centre) / radii, normals / radii
        a, b, c = (d * d).sum(axis=1), (p * d).sum(axis=1), (p * p).sum(axis=1) - 1
        room = (-b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a * centimetre
        out = np.minimum(out, np.maximum(room, 0.012))
    return out


def _cut_height(style: Style, roots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Template height (N,) below which each strand is cut; -inf where it is not."""
    height = np.full(len(roots), -np.inf if style.cut is None else style.cut)
    if style.cut is not None:
        height += rng.normal(0, 0.35, len(roots))
    if style.fringe is not None:
        fringe = (roots[:, 2] > 9.5) & (np.abs(roots[:, 0]) < 4.8) & (roots[:, 1] > 5.5)
        height[fringe] = style.fringe + rng.normal(0, 0.35, int(fringe.sum()))
    return height


def march(
    style: Style,
    roots: np.ndarray,
    normals: np.ndarray,
    frame: HeadFrame,
    collider: Collider,
    rng: np.random.Generator,
    length_scale: float = 1.0,
) -> np.ndarray:
    """Grow one guide from each root: roots, normals (N, 3) -> (N, style.points, 3), metres."""
    count = len(roots)
    t0 = frame.to_template(roots)
    lengths = strand_lengths(style, t0, normals @ frame.axes, frame.scale) * length_scale
    lengths = lengths * rng.uniform(1 - style.spread, 1 + style.spread, count)
    parting = style.part if style.part is not None else 0.0
    side = np.where(t0[:, 0] >= parting, 1.0, -1.0)
    lead = smoothstep(7.0, 9.0, t0[:, 2] + rng.normal(0, 0.6, count))
    shell = rng.uniform(*style.layer, count)
    wild = rng.normal(0, style.wild, (count, 3))
    step = lengths / STEPS
    path = np.empty((STEPS + 1, count, 3))
    path[0] = roots
    # Strands leave the whorl and the parting in all directions; standing up, they hide the skin.
    bare = smoothstep(5.0, 2.0, np.linalg.norm(t0 - CROWN, axis=1))
    if style.part is not None:
        line = smoothstep(1.6, 0.5, np.abs(t0[:, 0] - style.part)) * smoothstep(7.0, 9.0, t0[:, 1])
        bare = np.maximum(bare, line)
    rise = (style.rise + np.maximum(0.92 - style.rise, 0.0) * bare)[:, None]
    heading = rise * normals + (1 - rise) * _unit(
        _flatten(_field(style, side, lead, t0) @ frame.axes.T, normals)
    )
    heading = _unit(heading + wild)
    inertia = style.spring ** (step / 0.004)[:, None]  # the same bend for long and short steps
    distance, outward = collider.query(roots)
    for k in range(STEPS):
        t = frame.to_template(path[k])
        want = _unit(_field(style, side, lead, t) @ frame.axes.T + wild)
        arc = (k + 1) * step
        level = shell * smoothstep(0.0, 0.02, arc)
        hug = style.hug * smoothstep(-9.0, -5.0, t[:, 1]) * (distance < 0.04)
        pull = np.clip((distance - level) / 0.010, -1, 1) * hug
        want = _unit(want - pull[:, None] * outward)
        heading = _unit(inertia * heading + (1 - inertia) * want)
        there = path[k] + step[:, None] * heading
        # After the push the distance is known, so that one look-up a step is enough.
        distance, outward = collider.query(there)
        depth = np.maximum(np.minimum(level, arc) - distance, 0.0)
        path[k + 1] = there + depth[:, None] * outward
        distance = distance + depth
        heading = _unit(path[k + 1] - path[k] + 1e-9)
    guides = _trim(path.transpose(1, 0, 2), style, frame, side, _cut_height(style, t0, rng))
    return _wave(guides, style, t0, collider) if style.wave is not None else guides


def _wave(guides: np.ndarray, style: Style, roots: np.ndarray, collider: Collider) -> np.ndarray:
    """Bend guides (N, K, 3) into waves whose phase drifts slowly over the scalp."""
    assert style.wave is not None
    amplitude, length = style.wave
    tangent = _unit(np.gradient(guides, axis=1))
    _, outward = collider.query(guides)
    across = _unit(np.cross(tangent, outward))
    gaps = np.linalg.norm(np.diff(guides, axis=1), axis=2)
    arc = np.concatenate([np.zeros((len(guides), 1)), np.cumsum(gaps, axis=1)], axis=1)
    phase = 2 * np.pi * (arc / length) + 5.0 * ripple(roots, 6.5)[:, None]
    swing = amplitude * smoothstep(0.02, 0.10, arc)
    sideways = (swing * np.sin(phase))[..., None] * across
    return guides + sideways + (0.45 * swing * (1 + np.cos(phase)))[..., None] * outward


def _trim(
    path: np.ndarray, style: Style, frame: HeadFrame, side: np.ndarray, cut: np.ndarray
) -> np.ndarray:
    """Cut strands (N, S, 3) at their heights or ties and resample them to style.points."""
    count, steps, _ = path.shape
    t = frame.to_template(path)
    below = t[..., 1] < cut[:, None]
    if style.ties:
        below |= np.linalg.norm(t - tie_points(style, side)[:, None], axis=-1) < 0.9
    below[:, :2] = False
    last = np.where(below.any(axis=1), below.argmax(axis=1), steps - 1).astype(float)
    at = np.linspace(0, 1, style.points)[None] * last[:, None]
    low = np.minimum(at.astype(int), steps - 2)
    frac = (at - low)[..., None]
    rows = np.arange(count)[:, None]
    return path[rows, low] * (1 - frac) + path[rows, low + 1] * frac


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _flatten(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The part of vectors (N, 3) that lies in the planes across normals (N, 3)."""
    return vectors - (vectors * normals).sum(axis=-1, keepdims=True) * normals
