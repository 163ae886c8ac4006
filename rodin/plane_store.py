"""Planes while they are fitted: channels last, with gradients and Adam's moments in place.

Nothing of a plane's size is made anew in a step: at 256 texels and 32 channels, fresh memory for
gradients alone costs as much as all rays of a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rodin import triplane


class PlaneStore:
    """Planes of B avatars as a table (B, rows, C) of `triplane.to_table`, fitted by Adam.

    `grad` has the table's shape; whoever renders adds to it, `step` uses and clears it.
    """

    def __init__(self, planes: Tensor, anchor: Tensor | None = None) -> None:
        """planes (B, 3, C, R, R): where the fit begins; anchor (3, C, R, R): what the planes are
        held near to, see `losses.anchor`."""
        self.count, _, self.channels, self.size, _ = planes.shape
        self.anchor = None if anchor is None else anchor.detach().movedim(1, -1).contiguous()
        table = triplane.to_table(planes.detach())
        self._hold(table.view(self.count, -1, self.channels), {})

    def _hold(self, table: Tensor, moments: dict[str, Tensor]) -> None:
        parameter = nn.Parameter(table)
        parameter.grad = torch.zeros_like(table)
        # Gradients of planes are tiny, so epsilon is too.
        self._adam = torch.optim.Adam([parameter], betas=(0.9, 0.99), eps=1e-15, fused=True)
        if moments:
            self._adam.state[parameter] = dict(moments)
        self._parameter = parameter
        self.table = parameter.detach()
        self.grad: Tensor = parameter.grad

    def planes(self, table: Tensor | None = None) -> Tensor:
        """A view (B, 3, C, R, R) of the table, or of another table of its shape."""
        table = self.table if table is None else table
        return triplane.from_table(table.flatten(0, 1), self.size, self.size)

    def step(self, rate: float) -> None:
        """One step of Adam with the collected gradient, which is cleared."""
        side = self.size + 2
        grid = self.grad.view(-1, side, side, self.channels)
        for border in (grid[:, 0], grid[:, -1], grid[:, :, 0], grid[:, :, -1]):
            border.zero_()
        self._adam.param_groups[0]["lr"] = rate
        self._adam.step()
        self.grad.zero_()

    def keep(self, avatars: list[int]) -> None:
        """Go on with these avatars of the batch only."""
        moments = {
            name: value if name == "step" else value[avatars]
            for name, value in self._moments().items()
        }
        self.count = len(avatars)
        self._hold(self.table[avatars], moments)

    def _moments(self) -> dict[str, Tensor]:
        return self._adam.state.get(self._parameter, {})

    def state(self) -> dict[str, Any]:
        """A copy in plain tensors and numbers, in the host's memory."""
        return {
            "table": self.table.to("cpu", copy=True),
            "moments": {k: v.to("cpu", copy=True) for k, v in self._moments().items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        device = self.table.device
        moments = {k: v.to(device, copy=True) for k, v in state["moments"].items()}
        self._hold(state["table"].to(device, copy=True), moments)
