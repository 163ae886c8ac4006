"""One step of tri-plane fitting: what is drawn, the losses, and the planes' gradient.

The gradient stops at the looked-up features; from there `triplane.scatter` carries it into the
planes. Autograd would do the same with several copies of whole planes.
Legend: B avatars, N rays, S samples a ray, P further points, M = N * S + P, C channels.
Source: Rodin (arXiv 2212.06135) section 3.1, RodinHD (arXiv 2407.06938) section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rodin import losses, triplane
from rodin.decoder import TriplaneDecoder
from rodin.fit_settings import FitError, FitSettings
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank, place
from rodin.render import quadrature

_BLOCK = 2**18  # numbers of a plane that stay in a CPU's cache


@dataclass(frozen=True)
class Draw:
    """Everything random of a step, a row an avatar.

    rgb (B, N, 3) over white, alpha (B, N), distance and delta (B, N, S), points (B, M, 3): the
    samples of the rays, then counts[0] empty points, counts[1] points and as many beside them.
    """

    counts: tuple[int, int]
    rgb: Tensor
    alpha: Tensor
    directions: Tensor
    distance: Tensor
    delta: Tensor
    points: Tensor

    def to(self, device: torch.device) -> Draw:
        tensors = (self.rgb, self.alpha, self.directions, self.distance, self.delta, self.points)
        return Draw(self.counts, *[value.to(device) for value in tensors])


def draw(
    banks: list[RayBank], settings: FitSettings, generators: list[torch.Generator], share: int = 1
) -> Draw:
    """Rays and points of every avatar, each from its own generator; 1 / share of the settings'."""
    rays = max(1, settings.rays_per_step // share)
    empty = settings.empty_points // share // 4 * 4
    pairs = settings.compact_points // share
    rows: list[tuple[Tensor, ...]] = []
    for bank, generator in zip(banks, generators, strict=True):
        batch = bank.batch(rays, generator)
        distance, delta = place(batch, settings.samples_per_ray, settings.surface_band, generator)
        samples = batch.origins[:, None] + distance[..., None] * batch.directions[:, None]
        anywhere = torch.rand(pairs, 3, generator=generator) * 2 - 1
        aside = torch.randn(pairs, 3, generator=generator) * settings.compact_radius
        empties = bank.empty_points(empty, batch, generator)
        points = torch.cat((samples.flatten(0, 1), empties, anywhere, anywhere + aside))
        rows.append((batch.rgb, batch.alpha, batch.directions, distance, delta, points))
    stacked = [torch.stack(parts) for parts in zip(*rows, strict=True)]
    return Draw((empty, pairs), *stacked)


def losses_of(
    features: Tensor, decoder: TriplaneDecoder, drawn: Draw, settings: FitSettings
) -> dict[str, Tensor]:
    """Loss terms (B,) of features (B, M, C) at the points of a draw, without the planes' own."""
    batch, count, steps = drawn.distance.shape
    view = None
    if decoder.config.direction_frequencies:
        view = drawn.directions[:, :, None].expand(-1, -1, steps, -1).flatten(1, 2)
        rest = features.shape[1] - view.shape[1]
        view = torch.cat((view, view.new_tensor((0.0, 0.0, 1.0)).expand(batch, rest, 3)), 1)
    with torch.autocast("cuda", torch.bfloat16, enabled=features.is_cuda):
        rgb, sigma = (part.float() for part in decoder(features, view))
    empties, pairs = drawn.counts
    along, empty, at, near = sigma.split((count * steps, empties, pairs, pairs), 1)
    colour = rgb[:, : count * steps].unflatten(1, (count, steps))
    out = quadrature(colour, along.view(batch, count, steps), drawn.distance, drawn.delta)
    terms = {
        "pixel": losses.photometric(out.rgb, drawn.rgb),
        "alpha": losses.alpha(out.alpha, drawn.alpha),
    }
    if empties:
        terms["empty"] = losses.empty(empty, settings.empty_length)
    if pairs:
        terms["compact"] = losses.compact(at, near)
    return terms


def plane_losses(planes: Tensor, anchor: Tensor | None = None) -> dict[str, Tensor]:
    """Loss terms (B,) of planes (B, 3, C, H, W) themselves; anchor (3, C, H, W) or None."""
    terms = {"smooth": losses.smooth(planes), "sparse": losses.sparse(planes)}
    return terms if anchor is None else terms | {"anchor": losses.anchor(planes, anchor)}


@torch.no_grad()
def add_plane_gradient(store: PlaneStore, settings: FitSettings) -> dict[str, Tensor]:
    """`plane_losses` of the store and, added to it, their weighted gradient.

    By hand, in place: of whole planes in every step, since a texel that no ray and seldom a loss
    reaches would walk at random (Adam's steps do not shrink with the gradient).
    """
    size, side = store.size, store.size + 2
    planes, grad = (
        table.view(store.count, 3, side, side, -1)[:, :, 1:-1, 1:-1]
        for table in (store.table, store.grad)
    )
    texels = planes[0].numel()
    steps = texels // size * (size - 1)  # from neighbour to neighbour, along one axis
    smooth, sparse, drift = planes.new_zeros(3, store.count)
    start = store.anchor
    pull = 2 * settings.anchor_weight / texels
    # Some rows at a time: what does not leave the cache costs a third.
    rows = size if planes.is_cuda else max(1, _BLOCK // planes[:, :, 0].numel())
    for first in range(0, size, rows):
        last = min(first + rows, size)
        part, into = planes[:, :, first:last], grad[:, :, first:last]
        into.add_(part.sign(), alpha=settings.sparse_weight / texels)
        sparse += part.abs().flatten(1).sum(1)
        if start is not None:
            moved = part - start[:, first:last]
            drift += moved.flatten(1).norm(dim=1).square()
            into.add_(moved, alpha=pull)
        below = (planes[:, :, first : last + 1], grad[:, :, first : last + 1])
        for axis, (values, slopes) in ((2, below), (3, (part, into))):
            change = values.diff(dim=axis)
            smooth += change.flatten(1).norm(dim=1).square()
            change *= 2 * settings.smooth_weight / steps
            count = values.shape[axis] - 1
            slopes.narrow(axis, 1, count).add_(change)
            slopes.narrow(axis, 0, count).sub_(change)
    terms = {"smooth": smooth / steps, "sparse": sparse / texels}
    return terms if start is None else terms | {"anchor": drift / texels}


def total(terms: dict[str, Tensor], settings: FitSettings) -> Tensor:
    """The weighted sum (B,)."""
    weighted = [
        value if name == "pixel" else getattr(settings, f"{name}_weight") * value
        for name, value in terms.items()
    ]
    return torch.stack(weighted).sum(0)


def step_gradient(
    store: PlaneStore,
    decoder: TriplaneDecoder,
    drawn: Draw,
    settings: FitSettings,
    generator: torch.Generator,
    size: int,
    noise: float = 0.0,
) -> dict[str, Tensor]:
    """Add the gradient of a step to the store (and to the decoder, unless it is frozen).

    The planes are rendered at `size` texels a side, with noise of that standard deviation on the
    looked-up features, drawn from `generator`. Returns the loss terms (B,) and their "total".
    """
    index, weights = triplane.taps(drawn.points, size, size)
    with torch.no_grad():
        scaled = size != store.size
        table = store.table
        if scaled:
            table = triplane.to_table(triplane.shrink(store.planes(), size))
        features = triplane.gather(table.view(-1, store.channels), index, weights)
    features = features.view(store.count, -1, store.channels).requires_grad_()
    noisy = features
    if noise:
        drift = torch.randn(features.shape, generator=generator)
        noisy = features + noise * drift.to(features.device)
    terms = losses_of(noisy, decoder, drawn, settings)
    total(terms, settings).sum().backward()
    assert features.grad is not None
    terms |= add_plane_gradient(store, settings)
    terms["total"] = total(terms, settings)
    with torch.no_grad():
        grad = features.grad.flatten(0, 1)
        if scaled:
            small = torch.zeros_like(table)
            triplane.scatter(grad, index, weights, small)
            store.planes(store.grad).add_(
                triplane.shrink_transposed(triplane.from_table(small, size, size), store.size)
            )
        else:
            triplane.scatter(grad, index, weights, store.grad.flatten(0, 1))
    # All of them in one copy: a device waits for each.
    values = torch.stack(list(terms.values())).detach().cpu()
    return dict(zip(terms, values, strict=True))


def check_finite(terms: dict[str, Tensor], row: int, step: int) -> dict[str, float]:
    """The loss terms of one avatar; raises FitError for a total that is NaN or infinite."""
    numbers = {name: float(value[row]) for name, value in terms.items()}
    if not math.isfinite(numbers["total"]):
        bad = [k for k, v in numbers.items() if k != "total" and not math.isfinite(v)]
        raise FitError(
            f"the loss is {numbers['total']} at step {step} ({', '.join(bad)}); lower plane_rate or"
            " decoder_rate"
        )
    return numbers
