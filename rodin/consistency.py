"""Do near views of one avatar agree? Pixels are carried from view to view by the depth.

Legend: V views along a path, H x W pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras


def consistency(
    images: Tensor,
    depth: Tensor,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    tolerance: float = 0.02,
) -> tuple[float, float]:
    """PSNR in dB of each view against its neighbour warped into it, and the share compared.

    images (V, H, W, 3) in [0, 1], depth (V, H, W) along camera z with 0 outside the avatar,
    camera_to_world (V, 4, 4), intrinsics (3, 3) or (V, 3, 3). Compared are the avatar's pixels that
    both views see: their depths agree within `tolerance` box units. ValueError under two views, or
    where nothing is seen twice.
    """
    if len(images) < 2:
        raise ValueError(f"consistency needs at least 2 views, got {len(images)}")
    intrinsics = intrinsics.expand(len(images), 3, 3)
    error, seen, present = 0.0, 0, 0
    for a, b in pairwise(range(len(images))):
        for here, there in ((a, b), (b, a)):
            warped, valid = warp(
                images[there],
                depth[there],
                depth[here],
                (camera_to_world[there], intrinsics[there]),
                (camera_to_world[here], intrinsics[here]),
                tolerance,
            )
            error += float((warped - images[here])[valid].double().square().sum())
            seen += int(valid.sum())
            present += int((depth[here] > 0).sum())
    if not seen:
        raise ValueError("no pixel is seen by two views; take views that are nearer to each other")
    mean = torch.tensor(error / (3 * seen), dtype=torch.float64).clamp_min(1e-10)
    return float(-10 * mean.log10()), seen / present


def warp(
    image: Tensor,
    image_depth: Tensor,
    depth: Tensor,
    source: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """`image` (H, W, 3) of the source camera as the target camera sees it, by the target's depth.

    image_depth and depth (H, W) are those of source and target; cameras are (camera_to_world,
    intrinsics). Returns colours (H, W, 3) and where they hold (H, W).
    """
    height, width = depth.shape
    rows = torch.arange(height, dtype=depth.dtype) + 0.5
    columns = torch.arange(width, dtype=depth.dtype) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack((x, y), -1).view(-1, 2)
    points = cameras.unproject(pixels, depth.reshape(-1), *target)
    place, far = cameras.project(points, *source)
    size = torch.tensor([image.shape[1], image.shape[0]], dtype=depth.dtype)
    grid = (2 * place / size - 1).view(1, height, width, 2)
    layers = torch.cat((image, image_depth[..., None]), -1).permute(2, 0, 1)[None]
    colour = functional.grid_sample(layers[:, :3], grid, align_corners=False)
    # The depths of an edge's two sides must not be mixed.
    found = functional.grid_sample(layers[:, 3:], grid, mode="nearest", align_corners=False)
    same = (found[0, 0] - far.view(height, width)).abs() < tolerance
    inside = (grid[0].abs() < 1).all(-1)
    valid = same & inside & (depth > 0) & (found[0, 0] > 0)
    return colour[0].permute(1, 2, 0), valid
