"""3D-aware convolution of tri-planes (Rodin, arXiv 2212.06135, section 4.1), in decomposed form.

Legend: B batch, C channels in, O channels out, H = W plane size, K kernel size, P = K // 2.

The definition: each plane is concatenated with the other two planes, each averaged over the axis
that it does not share with the target and broadcast back along it, and an ordinary convolution
3C -> O runs over the three. With planes uv (y, x), wu (z, x), vw (y, z):

    uv: [uv, mean_z wu (varies with x), mean_z vw (varies with y)]
    wu: [wu, mean_y uv (varies with x), mean_y vw (varies with z)]
    vw: [vw, mean_x uv (varies with y), mean_x wu (varies with z)]

A pooled input is constant along one axis, so along that axis the kernel only ever meets copies of
one value: its part of the result is a 1-D convolution with the kernel summed over that axis,
broadcast. Only the P border lines differ, where zero padding removes some of the taps; there the
missing taps are subtracted. This is exact, and costs about as much as a plain convolution C -> O.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PLANES = 3


def _missing_taps(size: int, kernel: int) -> list[tuple[int, slice]]:
    """(line, taps that fall into the zero padding there) for each border line of an axis."""
    pad = kernel // 2
    missing: list[tuple[int, slice]] = []
    for line in range(size):
        if line < pad:
            missing.append((line, slice(0, pad - line)))
        if line >= size - pad:
            missing.append((line, slice(size + pad - line, kernel)))
    return missing


def _line_weights(weight: Tensor, axis: int, missing: list[tuple[int, slice]]) -> Tensor:
    """1-D kernels of a 2-D kernel over inputs that are constant along `axis`.

    weight (O, C, K, K), axis 2 (rows) or 3 (columns) -> ((1 + len(missing)) * O, C, K): first the
    kernel with all taps, then minus the missing taps of each border line.
    """
    taps = weight.movedim(axis, 0)
    kernels = [taps.sum(0)]
    kernels += [-taps[gone].sum(0) for _, gone in missing]
    return torch.cat(kernels)


def _convolve_lines(lines: Tensor, weight: Tensor, count: int) -> Tensor:
    """lines (..., N, C, L), weight (count * O, C, K) -> (count, ..., N, O, L)."""
    out = functional.conv1d(lines.flatten(0, -3), weight, padding=weight.shape[-1] // 2)
    out = out.unflatten(1, (count, -1)).unflatten(0, lines.shape[:-2])
    return out.movedim(-3, 0)


class TriplaneConv2d(nn.Module):
    """3D-aware convolution: (B, 3, C, S, S) -> (B, 3, O, S, S), zero padding on each plane alone.

    `weight` is (O, 3C, K, K), its input channels ordered [own plane, first pooled, second pooled]
    as listed at the top of this file, shared by the three planes; `bias` is (O,). Differentiable in
    input and parameters. Nothing crosses the seams of the roll-out except through the averages.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"TriplaneConv2d channels are {in_channels} -> {out_channels}; both must be >= 1"
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"TriplaneConv2d kernel_size is {kernel_size}; use an odd number (1, 3, 5)"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        shape = (out_channels, PLANES * in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The default of nn.Conv2d over the concatenated 3C channels."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"

    def forward(self, planes: Tensor) -> Tensor:
        """planes (B, 3, C, S, S) -> (B, 3, O, S, S); ValueError for another shape.

        Planes that are not square are refused: the rows of wu and the columns of vw are both z.
        """
        if planes.ndim != 5 or planes.shape[1:3] != (PLANES, self.in_channels):
            raise ValueError(
                f"TriplaneConv2d got planes of shape {tuple(planes.shape)}; "
                f"expected (B, 3, {self.in_channels}, S, S)"
            )
        size = planes.shape[-1]
        if planes.shape[-2] != size:
            raise ValueError(
                f"TriplaneConv2d got planes of {planes.shape[-2]} x {size} texels; "
                "the planes share axes in pairs, so make them square"
            )
        own, first, second = self.weight.split(self.in_channels, dim=1)
        out = functional.conv2d(planes.flatten(0, 1), own, self.bias, padding=self.kernel_size // 2)
        out = out.unflatten(0, (-1, PLANES))
        along_columns, along_rows = self._pooled(planes, first, second)
        # The convolution does not need its own result for its gradient: adding in place is safe.
        out += along_columns[0].unsqueeze(-2)
        out += along_rows[0].unsqueeze(-1)
        for i, (line, _) in enumerate(_missing_taps(size, self.kernel_size), start=1):
            out[..., line, :] += along_columns[i]
            out[..., line] += along_rows[i]
        return out

    def _pooled(self, planes: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Contributions of the pooled planes: that vary with the column, and with the row.

        Each (1 + M, B, 3, O, S): all taps, then corrections for the M border lines.
        """
        missing = _missing_taps(planes.shape[-1], self.kernel_size)
        count = 1 + len(missing)
        over_rows = planes.mean(-2)  # (B, 3, C, S): uv(x), wu(x), vw(z)
        over_columns = planes.mean(-1)  # uv(y), wu(z), vw(y)
        # Targets uv and wu see each other along x through `first`; vw sees wu along z by `second`.
        columns_first = _convolve_lines(
            over_rows[:, [1, 0]], _line_weights(first, 2, missing), count
        )
        columns_second = _convolve_lines(
            over_columns[:, [1]], _line_weights(second, 2, missing), count
        )
        # uv sees vw along y and wu sees vw along z by `second`; vw sees uv along y by `first`.
        vw_lines = torch.stack([over_columns[:, 2], over_rows[:, 2]], dim=1)
        rows_second = _convolve_lines(vw_lines, _line_weights(second, 3, missing), count)
        rows_first = _convolve_lines(over_columns[:, [0]], _line_weights(first, 3, missing), count)
        return (
            torch.cat([columns_first, columns_second], dim=2),
            torch.cat([rows_second, rows_first], dim=2),
        )
