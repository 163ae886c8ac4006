"""Eigenfaces (Turk and Pentland, 1991) as latents; planes guessed from them by ridge regression.

Not in the paper. Some hundred people are too few to train a portrait encoder on: it knows them by
heart and misreads the colours of others. Principal components and a linear guess cannot.

Legend: N people, D latent, P pixels of a portrait's three channels, F numbers of a tri-plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FOLDS = 5
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # in shares of the latents' mean square


class Eigenfaces(nn.Module):
    """Pixels (B, P) in [0, 1] -> latent (B, D): principal components of unit deviation.

    The zero latent is the mean portrait. Where fewer than D components differ, the last are zeros.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, pixels: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("basis", torch.zeros(pixels, latent_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) @ self.basis

    @torch.no_grad()
    def measure(self, pixels: Tensor) -> None:
        """Takes mean and components of (N, P)."""
        mean = pixels.mean(0)
        # Of the Gram matrix, in double precision: people are fewer than pixels.
        gaps = (pixels - mean).double()
        square, vectors = torch.linalg.eigh(gaps @ gaps.T)
        count = min(self.basis.shape[1], len(pixels) - 1)
        order = [i for i in range(-1, -count - 1, -1) if square[i] > 1e-9 * square[-1]]
        # gaps.T v / |.|, then divided by the deviation |.| / sqrt(N)
        basis = gaps.T @ vectors[:, order] / square[order] * len(pixels) ** 0.5
        self.mean.copy_(mean)
        self.basis.zero_()
        self.basis[:, : len(order)] = basis.float()


@torch.no_grad()
def ridge(latents: Tensor, targets: Tensor, groups: Sequence[int], scale: Tensor) -> Tensor:
    """The map (D, F) that guesses targets (N, F) from latents (N, D), both about zero.

    A component's penalty falls with the square of its `scale` (D,). The common factor is the one
    that errs least on people left out (5 folds; people of one group, such as somebody and the
    mirror image, are left out together); zeros where there are fewer than 10 groups.
    """
    names = sorted(set(groups))
    if len(names) < 2 * FOLDS:
        return latents.new_zeros(latents.shape[1], targets.shape[1])
    seen = latents * scale
    gram = seen @ seen.T
    unit = float(gram.diagonal().mean())
    fold = torch.tensor([names.index(group) % FOLDS for group in groups])
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for number in range(FOLDS):
            rest, left = fold != number, fold == number
            weights = _dual(gram[rest][:, rest], targets[rest], penalty * unit)
            error += float((gram[left][:, rest] @ weights - targets[left]).square().sum())
        errors.append(error)
    best = PENALTIES[errors.index(min(errors))]
    return scale[:, None] * (seen.T @ _dual(gram, targets, best * unit))


def _dual(gram: Tensor, targets: Tensor, penalty: float) -> Tensor:
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram + penalty * eye, targets)
