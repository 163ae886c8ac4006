"""Cameras around an avatar: exact, deterministic, more of them in front (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from blender.streams import generator
from rodin.conventions import DEFAULT_FOV_DEGREES, DEFAULT_RADIUS

_GOLDEN = 0.6180339887498949  # the step that spreads a sequence most evenly


@dataclass(frozen=True)
class CameraSettings:
    """Where the cameras stand."""

    fov: float = DEFAULT_FOV_DEGREES  # vertical field of view, degrees
    radius: float = DEFAULT_RADIUS  # distance to the box centre, box units
    aim: float = 0.0  # box units above the box centre that cameras look at; the face is at 0.2
    lowest: float = -30.0  # elevation, degrees
    highest: float = 60.0  # elevation, degrees
    usual: float = 6.0  # elevation where most cameras are, degrees
    spread: float = 24.0  # standard deviation of the elevation, degrees
    front: float = 0.6  # 0 even round the circle .. below 1 few at the back
    focal_jitter: float = 0.0  # relative spread (uniform, to both sides) of each focal length
    centre_jitter: float = 0.0  # the same of the principal point, share of the picture's width

    def __post_init__(self) -> None:
        if not 1.0 <= self.fov <= 120.0:
            raise ValueError(f"fov is {self.fov}; use 1 to 120 degrees")
        if not self.radius > 1.8:
            raise ValueError(f"radius is {self.radius}; the box reaches 1.74 units: use more")
        if not -85.0 <= self.lowest < self.highest <= 85.0:
            raise ValueError(
                f"elevations {self.lowest} to {self.highest} are not a range within -85 to 85"
            )
        if not 0.0 <= self.front < 1.0:
            raise ValueError(f"front is {self.front}; use 0 up to, not including, 1")
        if not (0.0 <= self.focal_jitter <= 0.5 and 0.0 <= self.centre_jitter <= 0.25):
            raise ValueError(
                f"focal_jitter is {self.focal_jitter} and centre_jitter {self.centre_jitter}; "
                "use 0 to 0.5 and 0 to 0.25"
            )
        if not -1.0 <= self.aim <= 1.0:
            raise ValueError(f"aim is {self.aim}; use -1 to 1 box units")
        if not self.spread > 0:
            raise ValueError(f"spread is {self.spread}; use a positive number of degrees")


@dataclass(frozen=True)
class Cameras:
    """V pinhole cameras in the avatar frame (OpenCV axes: x right, y down, z forward)."""

    camera_to_world: np.ndarray  # (V, 4, 4) float64
    intrinsics: np.ndarray  # (V, 3, 3) float64, pixels, pixel centres at +0.5
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.camera_to_world)


def look_from(azimuth: float, elevation: float, radius: float) -> np.ndarray:
    """Camera-to-world (4, 4) of a camera that looks at the box centre.

    Degrees; azimuth 0 is in front, positive on the viewer's right (+x); elevation up.
    """
    a, e = np.radians([azimuth, elevation])
    back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    down = np.cross(-back, right)
    out = np.eye(4)
    out[:3, :3] = np.stack([right, down, -back], axis=1)
    out[:3, 3] = radius * back
    return out


def make_cameras(
    angles: list[tuple[float, float]], size: int, settings: CameraSettings | None = None
) -> Cameras:
    """Square cameras of `size` pixels at (azimuth, elevation) pairs in degrees."""
    settings = settings or CameraSettings()
    if not 8 <= size <= 4096:
        raise ValueError(f"size is {size}; use 8 to 4096 pixels")
    if not angles:
        raise ValueError("there are no cameras; give at least one (azimuth, elevation) pair")
    focal = size / 2 / np.tan(np.radians(settings.fov) / 2)
    matrix = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    poses = np.stack([look_from(a, e, settings.radius) for a, e in angles])
    poses[:, 1, 3] += settings.aim
    return Cameras(poses, np.tile(matrix, (len(angles), 1, 1)), size, size)


def sphere_angles(
    count: int, seed: int, settings: CameraSettings | None = None
) -> list[tuple[float, float]]:
    """`count` (azimuth, elevation) pairs in degrees: the frontal one, then once round.

    A low-discrepancy set in order of azimuth, with density 1 + front * cos; elevations are from a
    truncated normal distribution.
    """
    if count < 1:
        raise ValueError(f"count is {count}; an avatar needs at least 1 view")
    settings = settings or CameraSettings()
    shift = generator(seed, "cameras").random(2)
    k = np.arange(count - 1)
    u = (k + shift[0]) / max(count - 1, 1)  # evenly round the circle, as in Hammersley's set
    v = (k * _GOLDEN + shift[1]) % 1.0
    grid = np.linspace(-np.pi, np.pi, 4097)
    share = 0.5 + (grid + settings.front * np.sin(grid)) / (2 * np.pi)
    azimuth = np.degrees(np.interp(u, share, grid))
    low, high = (
        ndtr((x - settings.usual) / settings.spread) for x in (settings.lowest, settings.highest)
    )
    elevation = settings.usual + settings.spread * ndtri(low + v * (high - low))
    return [(0.0, 0.0), *zip(azimuth.tolist(), elevation.tolist(), strict=True)]


def sphere_cameras(
    count: int, seed: int, size: int, settings: CameraSettings | None = None
) -> Cameras:
    """`count` square cameras of `size` pixels on the sphere; the first is the frontal portrait.

    With jitter every camera but the first has a focal length and a principal point of its own.
    """
    settings = settings or CameraSettings()
    cameras = make_cameras(sphere_angles(count, seed, settings), size, settings)
    noise = generator(seed, "intrinsics").uniform(-1.0, 1.0, (count - 1, 3))
    cameras.intrinsics[1:, [0, 1], [0, 1]] *= 1.0 + settings.focal_jitter * noise[:, :1]
    cameras.intrinsics[1:, :2, 2] += settings.centre_jitter * size * noise[:, 1:]
    return cameras
