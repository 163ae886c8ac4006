"""Tri-planes: lookup, resize, roll-out.

Legend: B batch, 3 planes in the order of `conventions.PLANE_AXES`, C channels, H x W texels,
N points. Planes are (B, 3, C, H, W); points lie in the avatar frame, the box is [-1, 1]^3.
Source: Rodin (arXiv 2212.06135) section 3.1, y_p = y_uv(p_uv) + y_wu(p_wu) + y_vw(p_vw).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rodin.conventions import PLANE_AXES

_ROW_AXES = tuple(axes[0] for axes in PLANE_AXES)
_COLUMN_AXES = tuple(axes[1] for axes in PLANE_AXES)


def sample(planes: Tensor, points: Tensor) -> Tensor:
    """Look points up in planes: bilinear, texel centres, zero outside, summed over the planes.

    planes (B, 3, C, H, W), points (B, N, 3) finite -> features (B, N, C). Differentiable once, in
    both. On the CPU whole rows of channels are gathered (several times faster than grid_sample),
    elsewhere it is grid_sample. Raises ValueError for other shapes.
    """
    _check(planes)
    if points.ndim != 3 or points.shape[0] != planes.shape[0] or points.shape[2] != 3:
        raise ValueError(
            f"points are {tuple(points.shape)} for planes {tuple(planes.shape)};"
            " pass (B, N, 3) points with the planes' B"
        )
    if planes.device.type != "cpu" or points.shape[1] == 0:
        return _sample_grid(planes, points)
    height, width = planes.shape[-2:]
    index, weights = taps(points, height, width)
    return _Gather.apply(to_table(planes), index, weights).unflatten(0, points.shape[:2])


def reader(planes: Tensor) -> Callable[[Tensor], Tensor]:
    """`sample` of planes (3, C, H, W) that are read many times, without gradients: points (N, 3)
    -> features (N, C)."""
    if planes.device.type != "cpu":
        return lambda points: _sample_grid(planes[None], points[None])[0]
    table = to_table(planes[None])
    height, width = planes.shape[-2:]
    return lambda points: gather(table, *taps(points[None], height, width))


def mirror(planes: Tensor) -> Tensor:
    """Planes (..., 3, C, H, W) of what a mirror at x = 0 shows: axes along x turned over."""
    turned = [
        plane.flip([axis - 2 for axis in range(2) if axes[axis] == 0])
        for plane, axes in zip(planes.unbind(-4), PLANE_AXES, strict=True)
    ]
    return torch.stack(turned, -4)


def to_table(planes: Tensor) -> Tensor:
    """The table that `gather` reads: planes with a border of zeros, one row of channels a texel.

    planes (B, 3, C, H, W) -> (B * 3 * (H + 2) * (W + 2), C).
    """
    batch, _, channels, height, width = planes.shape
    table = planes.new_zeros(batch, 3, height + 2, width + 2, channels)
    table[:, :, 1:-1, 1:-1] = planes.permute(0, 1, 3, 4, 2)
    return table.view(-1, channels)


def from_table(table: Tensor, height: int, width: int) -> Tensor:
    """Inverse of `to_table`, a view: (B, 3, C, H, W)."""
    grid = table.view(-1, 3, height + 2, width + 2, table.shape[-1])
    return grid[:, :, 1:-1, 1:-1].permute(0, 1, 4, 2, 3)


def taps(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The 3 x 2 x 2 texels of points (B, N, 3) finite: rows of the table and bilinear weights.

    Returns index (B * N, 12) int32 and weights (B * N, 12), which are differentiable in the points.
    """
    axes = points.unbind(-1)
    rows = torch.stack([axes[axis] for axis in _ROW_AXES], -1)
    columns = torch.stack([axes[axis] for axis in _COLUMN_AXES], -1)
    # Texel i of n sits at -1 + (2i + 1) / n. Past the border of zeros nothing changes any more.
    rows = (rows * (height / 2) + (height - 1) / 2).clamp(-1, height)
    columns = (columns * (width / 2) + (width - 1) / 2).clamp(-1, width)
    row, column = rows.detach().floor(), columns.detach().floor()
    row, column = row.clamp_max_(height - 1), column.clamp_max_(width - 1)
    down, right = rows - row, columns - column
    up, left = 1 - down, 1 - right
    weights = torch.stack((up * left, up * right, down * left, down * right), -1)
    plane = torch.arange(3 * points.shape[0], dtype=torch.int32, device=points.device)
    first = plane.view(-1, 1, 3) * (height + 2) + 1
    corner = (row.int() + first) * (width + 2) + (column.int() + 1)
    shifts = torch.tensor((0, 1, width + 2, width + 3), dtype=torch.int32, device=points.device)
    index = corner[..., None] + shifts
    return index.view(-1, 12), weights.view(-1, 12)


def gather(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """out[n] = sum_k weights[n, k] * table[index[n, k]]: (N, C), not differentiable by itself."""
    return functional.embedding_bag(index, table, mode="sum", per_sample_weights=weights)


def scatter(grad: Tensor, index: Tensor, weights: Tensor, into: Tensor) -> None:
    """The mirror image of `gather`: into[index[n, k]] += weights[n, k] * grad[n].

    Taps are sorted by row and each row's taps summed in that order, hence as fast as the gather,
    and deterministic. grad (N, C), into (rows, C).
    """
    key, order = index.flatten().sort(stable=True)
    row, counts = torch.unique_consecutive(key, return_counts=True)
    offsets = counts.cumsum(0) - counts
    point = torch.div(order, index.shape[1], rounding_mode="floor")
    part = functional.embedding_bag(
        point.int(), grad, offsets.int(), mode="sum", per_sample_weights=weights.flatten()[order]
    )
    into.index_add_(0, row, part)


class _Gather(torch.autograd.Function):
    """`gather`, with `scatter` as its backward pass."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        ctx.rows = table.shape[0]
        ctx.save_for_backward(index, weights, table if ctx.needs_input_grad[2] else None)
        return gather(table, index, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        index, weights, table = ctx.saved_tensors
        grad = grad.contiguous()
        grad_table = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_table = grad.new_zeros(ctx.rows, grad.shape[1])
            scatter(grad, index, weights, grad_table)
        if ctx.needs_input_grad[2]:
            taken = [(table[index[:, k].long()] * grad).sum(-1) for k in range(index.shape[1])]
            grad_weights = torch.stack(taken, -1)
        return grad_table, None, grad_weights


def _sample_grid(planes: Tensor, points: Tensor) -> Tensor:
    batch, _, channels, _, _ = planes.shape
    grid = torch.stack((points[..., _COLUMN_AXES], points[..., _ROW_AXES]), dim=-1)
    grid = rearrange(grid, "b n p xy -> (b p) 1 n xy")
    values = functional.grid_sample(
        planes.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return values.view(batch, 3, channels, -1).sum(1).transpose(1, 2)


def resize(planes: Tensor, size: int) -> Tensor:
    """Resize every plane for itself, antialiased bilinear: to (B, 3, C, size, size)."""
    _check(planes)
    if size < 1:
        raise ValueError(f"size is {size}; resize planes to at least 1 texel")
    if planes.shape[-2:] == (size, size):
        return planes
    # The antialiased kernel is slower and only differs where it shrinks.
    flat = functional.interpolate(
        planes.flatten(0, 1),
        (size, size),
        mode="bilinear",
        antialias=min(planes.shape[-2:]) > size,
        align_corners=False,
    )
    return flat.unflatten(0, planes.shape[:2])


def shrink(planes: Tensor, size: int) -> Tensor:
    """`resize` to a smaller size as two matrix products: fast for planes stored channels last."""
    return _separable(planes, _shrink_matrix(planes.shape[-1], size).to(planes))


def shrink_transposed(planes: Tensor, size: int) -> Tensor:
    """The gradient of `shrink` from `size`: (B, 3, C, h, h) -> (B, 3, C, size, size)."""
    return _separable(planes, _shrink_matrix(size, planes.shape[-1]).T.to(planes))


def _shrink_matrix(size: int, small: int) -> Tensor:
    """(small, size): one axis of the antialiased resize."""
    eye = torch.eye(size)[None, None]
    return functional.interpolate(eye, (small, size), mode="bilinear", antialias=True)[0, 0]


def _separable(planes: Tensor, matrix: Tensor) -> Tensor:
    """The matrix (h, H) along rows and columns: (B, 3, C, H, H) -> (B, 3, C, h, h)."""
    grid = planes.permute(0, 1, 3, 4, 2)
    rows = torch.matmul(matrix, grid.flatten(3)).unflatten(3, grid.shape[3:])
    return torch.matmul(matrix, rows).permute(0, 1, 4, 2, 3)


def roll_out(planes: Tensor) -> Tensor:
    """Planes (B, 3, C, H, W) side by side as one image (B, C, H, 3W): uv, wu, vw."""
    _check(planes)
    return rearrange(planes, "b p c h w -> b c h (p w)")


def unroll(image: Tensor) -> Tensor:
    """Inverse of `roll_out`: (B, C, H, 3W) -> (B, 3, C, H, W)."""
    if image.ndim != 4 or image.shape[-1] % 3:
        raise ValueError(f"the roll-out is {tuple(image.shape)}; pass (B, C, H, 3W)")
    return rearrange(image, "b c h (p w) -> b p c h w", p=3)


def _check(planes: Tensor) -> None:
    if planes.ndim != 5 or planes.shape[1] != 3:
        raise ValueError(f"planes are {tuple(planes.shape)}; pass (B, 3, C, H, W)")
