"""The skull above a hat's edge, and surfaces laid over it ring by ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.accessory_head import Head
from blender.accessory_shapes import Shape, grid_quads
from blender.hat_cover import Seat

TURNS = 96  # points of a ring
_RAYS = 40  # of them measured
_ROUND = 7  # harmonics kept: a hat does not follow every bump
_FLOOR = -0.28  # m; see `room`
_LIMIT = np.array([0.238, 0.238])  # m from the middle that brims may reach sideways, to the back
_TOP = 0.193  # m above the eyes


@dataclass(frozen=True)
class Dome:
    """The skull seen from a point in the plane of the hat's edge, cm of the head frame."""

    head: Head
    centre: np.ndarray  # (3,) cm
    axes: np.ndarray  # (3, 3), columns: right, up out of the plane, front
    polar: np.ndarray  # (K,) radians from straight up
    radii: np.ndarray  # (K, TURNS) cm from the centre to the skin

    @property
    def phi(self) -> np.ndarray:
        """Angles (TURNS,) round the head, 0 in front, growing to positive x."""
        return np.arange(TURNS) * (2 * np.pi / TURNS)

    @property
    def wide(self) -> np.ndarray:
        """How far (TURNS,) the skull reaches outwards anywhere above the edge, cm."""
        low = self.polar <= np.pi / 2 + 0.05
        return (self.radii * np.sin(self.polar)[:, None])[low].max(axis=0)

    @property
    def tall(self) -> float:
        """Height of the skull above the plane, cm."""
        return float((self.radii * np.cos(self.polar)[:, None]).max())

    def over(self, share: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Points (P, TURNS, 3) `offset` cm ((P,) or (P, TURNS)) off the skin.

        `share` (P,) or (P, TURNS) runs from 0 at the crown to 1 at the edge.
        """
        shape = (len(share), TURNS)
        share = np.broadcast_to(share.reshape(len(share), -1), shape)
        offset = np.broadcast_to(offset.reshape(len(share), -1), shape)
        angle = share * (np.pi / 2)
        reach = self._radius(angle) + offset
        return self.place(reach * np.sin(angle), reach * np.cos(angle))

    def _radius(self, angle: np.ndarray) -> np.ndarray:
        """Skull radii (P, TURNS) at angles (P, TURNS) from straight up, on each column's ray."""
        return self._along(angle, np.arange(TURNS)[None])

    def _along(self, angle: np.ndarray, column: np.ndarray) -> np.ndarray:
        at = np.clip(angle / (self.polar[1] - self.polar[0]), 0, len(self.polar) - 1.001)
        low = at.astype(int)
        part = at - low
        return self.radii[low, column] * (1 - part) + self.radii[low + 1, column] * part

    def clear(self, points: np.ndarray, least: float) -> np.ndarray:
        """Rings of points (P, TURNS, 3), moved out where nearer than `least` cm to the skull."""
        local = points - self.centre
        reach = np.linalg.norm(local, axis=-1)
        right, up, front = np.moveaxis(local @ self.axes, -1, 0)
        column = np.rint(np.arctan2(right, front) * (TURNS / (2 * np.pi))).astype(int) % TURNS
        angle = np.arccos(np.clip(up / np.maximum(reach, 1e-9), -1, 1))
        wanted = self._along(angle, column) + least
        return self.centre + local * np.maximum(wanted / np.maximum(reach, 1e-9), 1.0)[..., None]

    def place(self, outwards: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Points (P, TURNS, 3) from distances to the axis and heights, both (P, TURNS) cm."""
        x, z = outwards * np.sin(self.phi), outwards * np.cos(self.phi)
        return np.stack([x, up + 0.0 * x, z], axis=-1) @ self.axes.T + self.centre

    def room(self, base: np.ndarray, tip: np.ndarray) -> np.ndarray:
        """Share (TURNS,) of the way from base to tip (TURNS, 3) that stays inside the box."""
        a, b = self.head.frame.to_world(base), self.head.frame.to_world(tip)
        move = b - a
        limit = np.where(move[:, :2] > 0, _LIMIT, -_LIMIT)
        free = (limit - a[:, :2]) / np.where(np.abs(move[:, :2]) < 1e-6, 1e-6, move[:, :2])
        share = np.minimum(np.where(np.abs(move[:, :2]) < 1e-6, 1.0, free).min(axis=1), 1.0)
        # Rounded, so that a brim that must end early does so in a curve.
        wide = np.concatenate([share[-6:], share, share[:6]])
        low = np.lib.stride_tricks.sliding_window_view(wide, 13).min(axis=1)
        wide = np.concatenate([low[-6:], low, low[:6]])
        return np.clip(np.lib.stride_tricks.sliding_window_view(wide, 13).mean(axis=1), 0.05, 1.0)


def dome_of(head: Head, seat: Seat) -> Dome:
    """Measure the skull above a seat."""
    up = seat.normal()
    front = np.array([0.0, -up[2], up[1]]) / np.hypot(up[1], up[2])
    right = np.cross(up, front)
    axes = np.stack([right, up, front], axis=1)
    centre = np.array([0.0, 0.0, 4.2])
    centre[1] = seat.front - seat.slope * (14.5 - centre[2])
    polar = np.linspace(0, np.pi * 0.58, 12)
    phi = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    ray = (
        np.stack(
            [
                np.sin(polar)[:, None] * np.sin(phi),
                np.cos(polar)[:, None] + 0 * phi,
                np.sin(polar)[:, None] * np.cos(phi),
            ],
            axis=-1,
        )
        @ axes.T
    )
    found = head.settle(centre + 10.0 * ray, -ray, 0.0, reach=8.0)
    radii = ((found - centre) * ray).sum(axis=-1)
    radii = _even(radii)
    return Dome(head, centre, axes, polar, radii)


def _even(radii: np.ndarray) -> np.ndarray:
    """Radii (K, R) without small bumps, nowhere smaller than before, as (K, TURNS)."""
    waves = np.fft.rfft(radii, axis=1)
    waves[:, _ROUND + 1 :] = 0.0
    smooth = np.fft.irfft(waves, _RAYS, axis=1)
    short = np.maximum(radii - smooth, 0.0).max(axis=1, keepdims=True)
    fine = np.zeros((len(radii), TURNS // 2 + 1), complex)
    fine[:, : _ROUND + 1] = waves[:, : _ROUND + 1] * (TURNS / _RAYS)
    return np.fft.irfft(fine, TURNS, axis=1) + short


def rings(points: np.ndarray, extra: dict[str, np.ndarray] | None = None) -> Shape:
    """A surface through rings of points (P, TURNS, 3).

    Its value `turn` is (cosine and sine of the angle round the head, cm along the profile).
    """
    rows = len(points)
    phi = np.arange(TURNS) * (2 * np.pi / TURNS)
    step = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(axis=1)
    along = np.concatenate([[0.0], step.cumsum()])[:, None] + 0 * phi
    turn = np.stack([np.cos(phi) + 0 * along, np.sin(phi) + 0 * along, along], axis=-1)
    values = {"turn": turn.reshape(-1, 3), **(extra or {})}
    return Shape(points.reshape(-1, 3), grid_quads(rows, TURNS, wrap=True), values)
