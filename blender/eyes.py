"""Eyeballs: a sphere with a corneal bulge, the iris painted ring by ring, and a wet coat."""

from __future__ import annotations

import bpy
import numpy as np

from blender.body import Shaped
from blender.labels import LABELS
from blender.meshes import make_object
from blender.nodes import Graph
from blender.spec_types import AvatarSpec, linear
from blender.streams import generator

_SCALE = 0.985  # of the helper eyes' radius
_BULGE = 0.055  # of the radius, at the middle of the cornea
_IRIS = 0.415  # radians from the gaze axis to the iris's edge
_SEGMENTS = 64
_SCLERA = (0.86, 0.82, 0.79)  # sRGB


def _rings(pupil: float) -> np.ndarray:
    """Angles from the gaze axis, dense over the iris and at its edges."""
    edge = pupil * _IRIS
    return np.concatenate(
        [
            [edge * 0.5, edge * 0.93, edge * 1.05],
            np.linspace(edge * 1.25, _IRIS * 0.86, 7),
            [_IRIS * 0.93, _IRIS * 0.98, _IRIS * 1.04, _IRIS * 1.12, _IRIS * 1.3],
            np.linspace(_IRIS * 1.6, np.pi * 0.93, 14),
        ]
    )


def eye_mesh(spec: AvatarSpec, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit eye looking along +z: vertices (N, 3), triangles (F, 3), linear colours (N, 4)."""
    rings = _rings(spec.eyes.pupil)
    turn = np.arange(_SEGMENTS) * (2 * np.pi / _SEGMENTS)
    theta = np.concatenate([[0.0], np.repeat(rings, _SEGMENTS), [np.pi]])
    phi = np.concatenate([[0.0], np.tile(turn, len(rings)), [0.0]])
    cornea = np.clip(1.0 - (theta / (_IRIS * 1.12)) ** 2, 0.0, 1.0)
    radius = 1.0 + _BULGE * cornea**1.2
    direction = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1
    )
    first = 1 + np.arange(len(rings) - 1)[:, None] * _SEGMENTS + np.arange(_SEGMENTS)[None]
    right = (
        1 + np.arange(len(rings) - 1)[:, None] * _SEGMENTS + (np.arange(_SEGMENTS) + 1) % _SEGMENTS
    )
    quads = np.stack([first, first + _SEGMENTS, right + _SEGMENTS, right], axis=-1).reshape(-1, 4)
    ring0 = np.arange(_SEGMENTS)
    last = 1 + (len(rings) - 1) * _SEGMENTS
    front = np.stack([np.zeros_like(ring0), 1 + ring0, 1 + (ring0 + 1) % _SEGMENTS], axis=1)
    back = np.stack(
        [np.full_like(ring0, len(theta) - 1), last + (ring0 + 1) % _SEGMENTS, last + ring0], axis=1
    )
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], front, back])
    colours = _eye_colours(theta / _IRIS, phi, direction, spec, side)
    return direction * radius[:, None], triangles, colours


def _eye_colours(
    r: np.ndarray, phi: np.ndarray, direction: np.ndarray, spec: AvatarSpec, side: str
) -> np.ndarray:
    """Linear colours (N, 4): pupil, iris with radial fibres and a dark rim, sclera."""
    rng = generator(spec.seed, f"iris.{side}")
    fibres = sum(
        rng.uniform(0.3, 1.0) * np.cos(k * phi + rng.uniform(0, 2 * np.pi)) for k in range(9, 27, 3)
    )
    iris = np.array(linear(spec.eyes.rgb))
    pupil = spec.eyes.pupil
    t = np.clip((r - pupil) / (1 - pupil), 0, 1)
    crypts = np.cos(3 * phi + rng.uniform(0, 6)) * np.cos(5 * phi + rng.uniform(0, 6))
    bright = (1.15 - 0.35 * t) * (1 + (0.16 * fibres / 1.6 + 0.10 * crypts) * np.sin(np.pi * t))
    # A warm collar about the pupil, wider in some people; a dark limbal ring outside.
    wide = rng.uniform(0.10, 0.24)
    collar = np.exp(-0.5 * ((t - 0.10 - 0.04 * crypts) / wide) ** 2) * rng.uniform(0.4, 1.3)
    colour = iris * bright[:, None] * (1 + collar[:, None] * (0.40, 0.16, -0.20))
    limbal = np.clip((t - 0.78) / 0.22, 0, 1) ** 1.5 * rng.uniform(0.7, 0.9)
    colour = colour * (1 - limbal)[:, None]
    sclera = np.array(linear(_SCLERA)) * np.ones((len(r), 1))
    # Towards the corners the white reddens.
    red = np.clip((np.abs(direction[:, 0]) - 0.45) / 0.5, 0, 1)[:, None]
    sclera = sclera * (1 - red * (0.05, 0.28, 0.30))
    colour = np.where((r > 1.02)[:, None], sclera, colour)
    colour = np.where((r < pupil)[:, None], 0.004, colour)
    return np.concatenate([np.clip(colour, 0, 1), np.ones((len(r), 1))], axis=1)


def _looking(yaw: float, pitch: float) -> np.ndarray:
    """Rotation (3, 3) from the unit eye to an eye of an unturned head with this gaze, degrees."""
    a, b = np.radians([yaw, pitch])
    forward = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _lid_shade(world: np.ndarray, shaped: Shaped, side: str, centre: np.ndarray) -> np.ndarray:
    """Light (N,) that the lids and lashes leave on an eye's points (N, 3), about 0.45 .. 1."""
    out = np.ones(len(world))
    for strip, reach, depth in (("2", 0.19, 0.58), ("1", 0.10, 0.30)):
        lid = shaped.vertices[np.unique(shaped.quads[f"lash_{side}_{strip}"])]
        edge = lid[np.linalg.norm(lid - centre, axis=1) < 1.13 * shaped.eye_radius]
        gap = np.linalg.norm(world[:, None] - edge[None], axis=2).min(axis=1)
        out *= 1 - depth * np.exp(-((gap / (reach * shaped.eye_radius)) ** 2))
    return out


def eye_material() -> bpy.types.Material:
    """Painted ball under a clear wet coat."""
    g = Graph("eye")
    inputs = {
        "Base Color": g.attribute("albedo", "Color"), "Roughness": 0.45,
        "Specular IOR Level": 0.3, "Coat Weight": 1.0, "Coat Roughness": 0.02,
        "Subsurface Weight": 0.10, "Subsurface Radius": (1.0, 0.6, 0.5), "Subsurface Scale": 0.002,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def build_eyes(spec: AvatarSpec, shaped: Shaped) -> list[bpy.types.Object]:
    """Both eyes, placed in the head and turned to the gaze."""
    material = eye_material()
    turn = shaped.head_rotation @ _looking(spec.eyes.yaw, spec.eyes.pitch)
    out = []
    for side, centre in zip("lr", shaped.eye_centres, strict=True):
        unit, triangles, colours = eye_mesh(spec, side)
        world = unit @ turn.T * (shaped.eye_radius * _SCALE) + centre
        colours[:, :3] *= _lid_shade(world, shaped, side, centre)[:, None]
        ball = make_object(f"eye_{side}", world, triangles, {"albedo": colours}, material)
        ball.pass_index = LABELS["eyes"]
        out.append(ball)
    return out
