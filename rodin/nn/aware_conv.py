"""3D-aware convolution of tri-planes (Rodin, arXiv 2212.06135, section 4.1), in decomposed form.

Legend: B batch, C channels in, O channels out, H = W plane size, K kernel size, P = K // 2.

The definition: each plane is concatenated with the other two planes, each averaged over the axis
that it does not share with the target and broadcast back along it, and an ordinary convolution
3C -> O runs over the three. With planes uv (y, x), wu (z, x), vw (y, z):

    uv: [uv, mean_z wu (varies with x), mean_z vw (varies with y)]
    wu: [wu, mean_y uv (varies with x), mean_y vw (varies with z)]
    vw: [vw, mean_x uv (varies with y), mean_x wu (varies with z)]

A pooled input is constant along one axis, so along that axis the kernel only ever meets copies of
one value: its part of the result is a sum over that axis' taps of 1-D convolutions, broadcast. Only
the P border lines differ, where zero padding removes some of the taps: theirs are taken off again.
This is exact, and costs about as much as a plain convolution C -> O.

On whole planes the code does only what autograd takes back cheaply: sums, broadcast additions and
`index_add_`. A mean, or writing to a slice or a view, costs a copy of the planes going backward.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

PLANES = 3


def _border_lines(size: int, kernel: int) -> list[tuple[int, range]]:
    """(line, taps that fall into the zero padding there) for each border line of an axis."""
    pad = kernel // 2
    missing: list[tuple[int, range]] = []
    for line in range(size):
        if line < pad:
            missing.append((line, range(pad - line)))
        if line >= size - pad:
            missing.append((line, range(size + pad - line, kernel)))
    return missing


def _convolve_lines(lines: Tensor, weight: Tensor) -> Tensor:
    """1-D convolutions by each line of 2-D kernels.

    lines (B, N, C, S), weight (O, C, K, K) with the axis along the lines last -> (B, N, K, O, S).
    """
    kernel = weight.shape[-1]
    flat = weight.permute(2, 0, 1, 3).flatten(0, 1)  # (K O, C, K)
    found = functional.conv1d(lines.flatten(0, 1), flat, padding=kernel // 2)  # (B N, K O, S)
    return found.unflatten(1, (kernel, -1)).unflatten(0, lines.shape[:2])


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
        own, *pooled = self.weight.split(self.in_channels, dim=1)
        out = functional.conv2d(planes.flatten(0, 1), own, self.bias, padding=self.kernel_size // 2)
        border = _border_lines(size, self.kernel_size)
        lines = torch.tensor([line for line, _ in border], dtype=torch.int32, device=out.device)
        # The convolution does not need its own result for its gradient: adding in place is safe.
        for dim, found in enumerate(self._pooled(planes, *pooled), start=2):
            taps = found.unbind(1)
            out += reduce(torch.add, taps).unsqueeze(dim)
            if border:
                missing = [reduce(torch.add, [taps[tap] for tap in gone]) for _, gone in border]
                out.index_add_(dim, lines, torch.stack(missing, dim).to(out.dtype), alpha=-1)
        return out.unflatten(0, (-1, PLANES))

    def _pooled(self, planes: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Contributions of the pooled planes: that vary with the column, and with the row.

        first, second (O, C, K, K): weights of the first and the second pooled plane. Each result
        (3B, K, O, S): one part a tap along the axis on which it is constant.
        """
        # Scaled here: the mean of the planes would write as many numbers as they have, backward.
        scale = 1 / planes.shape[-1]
        uv_x, wu_x, vw_z = (planes.sum(-2) * scale).unbind(1)
        uv_y, wu_z, vw_y = (planes.sum(-1) * scale).unbind(1)
        # Pooled inputs of (uv, wu, vw) that vary with the column: of the first, first and second
        # pooled plane of their target; then those that vary with the row: of the others.
        columns = [
            _convolve_lines(torch.stack([wu_x, uv_x], 1), first),
            _convolve_lines(wu_z[:, None], second),
        ]
        rows = [
            _convolve_lines(torch.stack([vw_y, vw_z], 1), second.transpose(2, 3)),
            _convolve_lines(uv_y[:, None], first.transpose(2, 3)),
        ]
        return torch.cat(columns, 1).flatten(0, 1), torch.cat(rows, 1).flatten(0, 1)
