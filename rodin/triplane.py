"""Tri-planes: lookup, resize, roll-out.

Legend: B batch, 3 planes in the order of `conventions.PLANE_AXES`, C channels, H x W texels,
N points. Planes are (B, 3, C, H, W); points lie in the avatar frame, the box is [-1, 1]^3.
Source: Rodin (arXiv 2212.06135) section 3.1, y_p = y_uv(p_uv) + y_wu(p_wu) + y_vw(p_vw).
"""

from __future__ import annotations

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
    return lookup(channel_rows(planes), points, planes.shape[-2], planes.shape[-1])


def channel_rows(planes: Tensor) -> Tensor:
    """The table that `lookup` gathers from: planes with a border of zeros, one row a texel.

    planes (B, 3, C, H, W) -> (B * 3 * (H + 2) * (W + 2), C).
    """
    return rearrange(functional.pad(planes, (1, 1, 1, 1)), "b p c h w -> (b p h w) c")


def lookup(table: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """`sample` for a table of `channel_rows`: points (B, N, 3) -> (B, N, C)."""
    batch, count, _ = points.shape
    corner, weights = _taps(points, height, width)
    values = _Gather.apply(table.contiguous(), corner, weights, width + 2)
    return values.view(batch, count, table.shape[1])


def _taps(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """First of the 2 x 2 texels in each plane, (B * N, 3) int32, and weights (4, B * N, 3)."""
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
    weights = torch.stack((up * left, up * right, down * left, down * right))
    first = torch.arange(3 * points.shape[0], dtype=torch.int32).view(-1, 1, 3) * (height + 2) + 1
    corner = (row.int() + first) * (width + 2) + (column.int() + 1)
    return corner.flatten(0, 1), weights.flatten(1, 2)


class _Gather(torch.autograd.Function):
    """out[n] = sum_{k<4, p<3} weights[k, n, p] * table[corner[n, p] + shift[k]].

    The backward pass sorts the taps by texel and sums each texel's taps in that order: the mirror
    image of the forward pass, and therefore as fast and as deterministic.
    """

    @staticmethod
    def forward(ctx, table: Tensor, corner: Tensor, weights: Tensor, stride: int) -> Tensor:
        shifts = (0, 1, stride, stride + 1)
        out = table.new_zeros(corner.shape[0], table.shape[1])
        for shift, weight in zip(shifts, weights, strict=True):
            out += functional.embedding_bag(
                corner, table[shift:], mode="sum", per_sample_weights=weight
            )
        ctx.shifts = shifts
        needs_table = ctx.needs_input_grad[2]
        ctx.rows = table.shape[0]
        ctx.save_for_backward(corner, weights, table if needs_table else None)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        corner, weights, table = ctx.saved_tensors
        grad = grad.contiguous()
        grad_table = grad_weights = None
        if ctx.needs_input_grad[0]:
            key = corner.flatten()
            # 16-bit keys sort faster and hold every plane up to 102 texels a side.
            key, order = (key.short() if ctx.rows < 2**15 else key).sort(stable=True)
            counts = torch.bincount(key.int(), minlength=ctx.rows)
            offsets = (counts.cumsum(0) - counts).int()
            order32 = order.int()
            point = torch.div(order32, 3, rounding_mode="floor")
            grad_table = grad.new_zeros(ctx.rows, grad.shape[1])
            for shift, weight in zip(ctx.shifts, weights, strict=True):
                part = functional.embedding_bag(
                    point, grad, offsets, mode="sum", per_sample_weights=weight.flatten()[order]
                )
                grad_table[shift:] += part[: ctx.rows - shift]
        if ctx.needs_input_grad[2]:
            index = corner.long()
            parts = [(table[index + shift] * grad[:, None]).sum(-1) for shift in ctx.shifts]
            grad_weights = torch.stack(parts)
        return grad_table, None, grad_weights, None


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
