"""Pinhole cameras in the OpenCV convention: rays, projection, orbits (torch; see `conventions`).

Legend: V views, H x W pixels; camera_to_world (..., 4, 4), intrinsics (..., 3, 3) in pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodin.conventions import DEFAULT_FOV_DEGREES, DEFAULT_RADIUS


class CameraError(ValueError):
    """A camera that cannot have seen an avatar in the unit box, or is no camera at all."""


def rays(
    camera_to_world: Tensor, intrinsics: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Rays through all pixel centres.

    camera_to_world (..., 4, 4), intrinsics (..., 3, 3) -> origins and directions, both
    (..., H, W, 3), in world units; directions have unit length. Differentiable in both matrices.
    """
    rows = torch.arange(height, dtype=camera_to_world.dtype, device=camera_to_world.device) + 0.5
    columns = torch.arange(width, dtype=camera_to_world.dtype, device=camera_to_world.device) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    camera_to_world = camera_to_world[..., None, None, :, :]
    return pixel_rays(camera_to_world, intrinsics[..., None, None, :, :], x, y)


def pixel_rays(
    camera_to_world: Tensor, intrinsics: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Rays through pixel positions x, y (...) of cameras (..., 4, 4), (..., 3, 3).

    All arguments broadcast together. Returns origins and unit directions (..., 3).
    A pixel centre is at integer + 0.5.
    """
    intrinsics = intrinsics.to(camera_to_world.dtype)
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    v = (y - intrinsics[..., 1, 2]) / fy
    u = (x - intrinsics[..., 0, 2] - intrinsics[..., 0, 1] * v) / fx
    local = torch.stack(torch.broadcast_tensors(u, v, torch.ones_like(u)), dim=-1)
    local = local / local.norm(dim=-1, keepdim=True)
    directions = (camera_to_world[..., :3, :3] * local[..., None, :]).sum(-1)
    origins = camera_to_world[..., :3, 3].expand_as(directions)
    return origins, directions


def project(points: Tensor, camera_to_world: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Project points (..., N, 3) into cameras (..., 4, 4), (..., 3, 3).

    Returns pixels (..., N, 2) as (x, y) and depth (..., N) along camera z (negative: behind).
    """
    rotation, centre = camera_to_world[..., :3, :3], camera_to_world[..., :3, 3]
    local = (points - centre[..., None, :]) @ rotation
    pixels = local @ intrinsics.to(local.dtype).transpose(-1, -2)
    return pixels[..., :2] / pixels[..., 2:], local[..., 2]


def unproject(pixels: Tensor, depth: Tensor, camera_to_world: Tensor, intrinsics: Tensor) -> Tensor:
    """Inverse of `project`: pixels (..., N, 2), camera-z depth (..., N) to points (..., N, 3)."""
    homogeneous = torch.cat((pixels, torch.ones_like(pixels[..., :1])), dim=-1)
    inverse = torch.linalg.inv(intrinsics.to(pixels.dtype))
    local = homogeneous @ inverse.transpose(-1, -2) * depth[..., None]
    rotation, centre = camera_to_world[..., :3, :3], camera_to_world[..., :3, 3]
    return local @ rotation.transpose(-1, -2) + centre[..., None, :]


def intrinsics_from_fov(
    width: int, height: int, fov_degrees: float = DEFAULT_FOV_DEGREES
) -> Tensor:
    """Intrinsics (3, 3) float32 with square pixels; the field of view spans the height."""
    focal = 0.5 * height / math.tan(math.radians(fov_degrees) / 2)
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def look_at(eye: Tensor, target: Tensor | None = None) -> Tensor:
    """Camera-to-world (..., 4, 4) at eye (..., 3), y up, looking at target or the box centre."""
    target = torch.zeros_like(eye) if target is None else target
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    up = torch.zeros_like(forward)
    up[..., 1] = 1.0
    right = torch.linalg.cross(forward, up)
    # Looking straight up or down leaves the roll free: keep the camera's x on the world's x.
    straight = right.norm(dim=-1, keepdim=True) < 1e-6
    right = torch.where(straight, torch.eye(3, dtype=eye.dtype, device=eye.device)[0], right)
    right = torch.nn.functional.normalize(right, dim=-1)
    down = torch.linalg.cross(forward, right)
    matrix = torch.zeros(*eye.shape[:-1], 4, 4, dtype=eye.dtype, device=eye.device)
    matrix[..., :3, :] = torch.stack((right, down, forward, eye), dim=-1)
    matrix[..., 3, 3] = 1.0
    return matrix


def orbit(
    azimuth_degrees: Tensor | float,
    elevation_degrees: Tensor | float,
    radius: float = DEFAULT_RADIUS,
) -> Tensor:
    """Camera-to-world (..., 4, 4) on a sphere about the box centre, looking at it.

    Azimuth 0 is the front (+z), 90 is the viewer's right (+x); positive elevation looks down.
    """
    azimuth, elevation = torch.broadcast_tensors(
        torch.deg2rad(torch.as_tensor(azimuth_degrees, dtype=torch.float32)),
        torch.deg2rad(torch.as_tensor(elevation_degrees, dtype=torch.float32)),
    )
    eye = torch.stack(
        (
            elevation.cos() * azimuth.sin(),
            elevation.sin(),
            elevation.cos() * azimuth.cos(),
        ),
        dim=-1,
    )
    return look_at(radius * eye)


def mirror(camera_to_world: Tensor, intrinsics: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The cameras (..., 4, 4), (..., 3, 3) whose images of a world mirrored at x = 0 are the mirror
    images, left to right, of what the given ones see; `width` of the images in pixels."""
    turn = torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=camera_to_world.dtype).diag()
    turn = turn.to(camera_to_world.device)
    lens = intrinsics.clone()
    lens[..., 0, 2] = width - intrinsics[..., 0, 2]
    lens[..., 0, 1] = -intrinsics[..., 0, 1]
    return turn @ camera_to_world @ turn, lens


def turntable(count: int, elevation_degrees: float = 5.0, radius: float = DEFAULT_RADIUS) -> Tensor:
    """A closed circle of cameras (count, 4, 4), from the front towards the viewer's right."""
    return orbit(torch.arange(count) * (360.0 / count), elevation_degrees, radius)


def check(camera_to_world: Tensor, intrinsics: Tensor, height: int, width: int) -> None:
    """Refuse cameras (V, 4, 4), (V, 3, 3) that cannot be those of an avatar in the unit box.

    Raises CameraError: not finite, not a rotation, inside the box, not looking at it, or a focal
    length that is no pixel count (normalised intrinsics are the usual mistake).
    """
    if not (torch.isfinite(camera_to_world).all() and torch.isfinite(intrinsics).all()):
        raise CameraError(
            "cameras hold NaN or infinity; pass finite camera_to_world and intrinsics"
        )
    rotation = camera_to_world[:, :3, :3].double()
    identity = torch.eye(3, dtype=torch.float64)
    error = (rotation.transpose(1, 2) @ rotation - identity).abs().amax((1, 2))
    for view in range(len(camera_to_world)):
        if error[view] > 1e-3 or torch.linalg.det(rotation[view]) < 0:
            raise CameraError(
                f"camera_to_world of view {view} is not a right-handed rotation (error"
                f" {error[view]:.3g}, limit 0.001); pass OpenCV camera-to-world, unscaled"
            )
        centre = camera_to_world[view, :3, 3].double()
        if centre.abs().max() <= 1.0:
            raise CameraError(
                f"the camera of view {view} is inside the unit box at {_text(centre)};"
                " pass camera-to-world (not world-to-camera) in box units"
            )
        pixels, depth = project(
            torch.zeros(1, 3, dtype=torch.float64),
            camera_to_world[view].double(),
            intrinsics[view].double(),
        )
        x, y = pixels[0].tolist()
        if depth[0] <= 0 or not (0 <= x <= width and 0 <= y <= height):
            raise CameraError(
                f"the camera of view {view} at {_text(centre)} does not look at the box"
                f" centre (seen at pixel {x:.0f}, {y:.0f} of {width} x {height}, depth"
                f" {depth[0]:.2f});"
                " use x right, y down, z forward"
            )
        if min(intrinsics[view, 0, 0], intrinsics[view, 1, 1]) < 0.2 * max(height, width):
            raise CameraError(
                f"the focal length of view {view} is {intrinsics[view, 0, 0]:.3g} px for images of"
                f" {width} px; pass intrinsics in pixels"
            )


def _text(vector: Tensor) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in vector.tolist()) + ")"
