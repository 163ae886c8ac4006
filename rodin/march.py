"""Pictures: rays are followed from the front, through occupied space, until nothing shows behind.

The samples are those of `render.render`, which takes all of a ray's and has gradients: the two
agree within `UNSEEN`. Most of a ray is empty or hidden, so this is several times faster.

Legend: N rays, A of them still on their way, G voxels a side, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder

UNSEEN = 1 / 512  # a ray of which less passes shows nothing more: half a step of 8 bits
_BLOCK = 8  # samples of a ray between two looks at what still passes


def stretch(
    occupancy: Tensor, camera_to_world: Tensor, intrinsics: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Between which depths along camera z each pixel can meet occupied space: two (H, W).

    occupancy (G, G, G), camera_to_world (4, 4), intrinsics (3, 3). Never too narrow; infinity and
    minus infinity where there is nothing to meet.
    """
    size = occupancy.shape[-1]
    centres = occupancies.voxel_centres(size).to(occupancy.device)[occupancy.flatten()]
    radius = 3**0.5 / size  # of the sphere about a voxel
    pixels, depth = cameras.project(centres, camera_to_world, intrinsics)
    if len(depth) and depth.min() <= 2 * radius:  # within the voxels: no footprint is small
        everything = torch.full((height, width), torch.inf, device=depth.device)
        return torch.zeros_like(everything), everything
    near = torch.full((height, width), torch.inf, device=depth.device)
    if not len(depth):
        return near, -near
    # A voxel touches the tile that its centre falls into and at most that tile's neighbours.
    slope = ((pixels - intrinsics[:2, 2]) / intrinsics[:2, :2].diagonal()).norm(dim=1).max()
    focal = intrinsics[:2, :2].diagonal().max()
    tile = int((focal * radius * (1 + slope**2).sqrt() / (depth.min() - radius)).ceil())
    rows, columns = -(-height // tile) + 2, -(-width // tile) + 2  # a border for those outside
    column = (pixels[:, 0] / tile).floor().long().clamp(-1, columns - 2) + 1
    row = (pixels[:, 1] / tile).floor().long().clamp(-1, rows - 2) + 1
    found = [
        torch.full((rows * columns,), -torch.inf, device=depth.device)
        .scatter_reduce(0, row * columns + column, value, "amax")
        .view(1, rows, columns)
        for value in (-depth, depth)
    ]
    found = [
        functional.max_pool2d(value, 3, 1, 1)[0, 1:-1, 1:-1]
        .repeat_interleave(tile, 0)
        .repeat_interleave(tile, 1)[:height, :width]
        for value in found
    ]
    return -found[0] - radius, found[1] + radius


@torch.no_grad()
def march(
    look: Callable[[Tensor], Tensor],
    decoder: TriplaneDecoder,
    origins: Tensor,
    directions: Tensor,
    step: Tensor,
    start: Tensor,
    first: Tensor,
    last: Tensor,
    occupancy: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Follows rays (N, 3) through planes that `look` reads (`triplane.reader`).

    Samples i = first ... last - 1 of a ray lie at start + (i + 1/2) step (all of these (N,)); those
    in `occupancy` (G, G, G) are decoded.

    Returns colour (N, 3) before black, what passes (N,) and the sum of weight * distance (N,).
    """
    colour, depth = torch.zeros_like(origins), torch.zeros_like(step)
    passed = torch.ones_like(step)
    at = first.clone()
    ahead = torch.arange(_BLOCK, device=step.device)
    ray = (at < last).nonzero()[:, 0]
    while len(ray):
        index = at[ray, None] + ahead
        distance = start[ray, None] + (index + 0.5) * step[ray, None]
        points = origins[ray, None] + distance[..., None] * directions[ray, None]
        used = occupancies.lookup(occupancy[None], points.view(1, -1, 3))[0]
        used &= (index < last[ray, None]).view(-1)
        where = used.nonzero()[:, 0]
        of = torch.div(where, _BLOCK, rounding_mode="floor")
        view = directions[ray[of]] if decoder.config.direction_frequencies else None
        rgb, sigma = decoder(look(points.view(-1, 3)[where]), view)
        optical = step.new_zeros(len(used))
        optical[where] = sigma * step[ray[of]]
        optical = functional.pad(optical.view(-1, _BLOCK).cumsum(1), (1, 0))
        through = passed[ray, None] * torch.exp(-optical)
        weight = through[:, :-1] - through[:, 1:]
        colour.index_add_(0, ray[of], weight.view(-1)[where, None] * rgb)
        depth[ray] += (weight * distance).sum(1)
        passed[ray] = through[:, -1]
        at[ray] += _BLOCK
        ray = ray[(passed[ray] > UNSEEN) & (at[ray] < last[ray])]
    return colour, passed, depth
