"""One step of a fit: what is drawn, and the hand-carried gradient against autograd's."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rodin import triplane
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.fit_settings import FitSettings, rate, render_size
from rodin.fit_step import Draw, draw, losses_of, plane_losses, step_gradient, total
from rodin.occupancy import lookup
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank, place
from rodin.views import Views, ViewsError
from tests.rodin import scenes

SETTINGS = FitSettings(
    decoder=DecoderConfig(channels=6, hidden=16),
    resolution=8,
    base_resolution=4,
    rays_per_step=60,
    empty_points=32,
    compact_points=16,
    occupancy_size=32,
)


@pytest.fixture(scope="module")
def views() -> Views:
    return scenes.views(0, count=14, size=48, samples=2)


@pytest.fixture(scope="module")
def bank(views: Views) -> RayBank:
    return RayBank(views, 32, 0.06, use_depth=True)


def random_planes(batch: int, size: int) -> Tensor:
    return torch.randn(batch, 3, 6, size, size, generator=torch.Generator().manual_seed(1))


def autograd_step(
    planes: Tensor,
    decoder: TriplaneDecoder,
    drawn: Draw,
    settings: FitSettings,
    size: int,
    anchor: Tensor | None,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The slow twin of `step_gradient`: everything by autograd, losses of whole planes."""
    planes = planes.clone().requires_grad_()
    features = triplane.sample(triplane.resize(planes, size), drawn.points)
    terms = losses_of(features, decoder, drawn, settings) | plane_losses(planes, anchor)
    terms["total"] = total(terms, settings)
    return terms, list(torch.autograd.grad(terms["total"].sum(), [planes, *decoder.parameters()]))


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("directions", [0, 2])
@pytest.mark.parametrize("size", [8, 6])
def test_the_gradient_is_autograds(
    bank: RayBank, size: int, directions: int, anchored: bool
) -> None:
    config = dataclasses.replace(SETTINGS.decoder, direction_frequencies=directions)
    settings = dataclasses.replace(SETTINGS, decoder=config, smooth_weight=0.5, sparse_weight=0.5)
    settings = dataclasses.replace(settings, anchor_weight=0.5)
    decoder = TriplaneDecoder(config)
    planes = random_planes(2, 8)
    anchor = random_planes(3, 8)[2] if anchored else None
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    drawn = draw([bank, bank], settings, generators)
    assert drawn.points.shape == (2, 60 * 8 + 32 + 2 * 16, 3)
    terms, (expected, *others) = autograd_step(planes, decoder, drawn, settings, size, anchor)
    store = PlaneStore(planes, anchor)
    found = step_gradient(store, decoder, drawn, settings, torch.Generator(), size)
    names = {"pixel", "alpha", "empty", "compact", "smooth", "sparse", "total"}
    assert set(found) == names | ({"anchor"} if anchored else set())
    for name in found:
        torch.testing.assert_close(found[name], terms[name].detach())
    torch.testing.assert_close(store.planes(store.grad), expected, atol=1e-6, rtol=1e-4)
    for parameter, other in zip(decoder.parameters(), others, strict=True):
        torch.testing.assert_close(parameter.grad, other, atol=1e-6, rtol=1e-4)


def test_texels_without_data_become_smooth(bank: RayBank) -> None:
    """Also those at the borders, which no ray reaches: noise there would be a generator's task."""
    settings = dataclasses.replace(SETTINGS, resolution=32, smooth_weight=1.0)
    decoder, store = TriplaneDecoder(settings.decoder), PlaneStore(random_planes(1, 32))
    generator = torch.Generator().manual_seed(0)
    border = [(..., 0, slice(None)), (..., -1, slice(None)), (..., slice(None), 0)]
    before = [float(store.planes()[line].diff().square().mean()) for line in border]
    for _ in range(100):
        drawn = draw([bank], settings, [generator])
        step_gradient(store, decoder, drawn, settings, generator, 32)
        store.step(0.05)
    for line, rough in zip(border, before, strict=True):
        assert float(store.planes()[line].diff().square().mean()) < 0.1 * rough


def test_the_store_steps_like_adam_and_can_be_kept_in_part() -> None:
    planes = random_planes(2, 8)
    store = PlaneStore(planes)
    reference = planes.clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=0.1, betas=(0.9, 0.99), eps=1e-15)
    for step in range(3):
        gradient = random_planes(2, 8) * (step + 1)
        reference.grad = gradient
        adam.step()
        store.grad.copy_(triplane.to_table(gradient).view_as(store.grad))
        store.step(0.1)
        assert not store.grad.any()
    torch.testing.assert_close(store.planes(), reference.detach())
    kept = store.state()
    store.keep([1])
    torch.testing.assert_close(store.planes(), reference.detach()[1:])
    before = store.planes().clone()
    store.step(0.1)  # no gradient, but the moments are still there
    assert (store.planes() != before).any()
    other = PlaneStore(torch.zeros(2, 3, 6, 8, 8))
    other.restore(kept)
    torch.testing.assert_close(other.planes(), reference.detach())


def test_the_border_of_zeros_stays() -> None:
    store = PlaneStore(random_planes(1, 8))
    store.grad.add_(1.0)
    store.step(0.1)
    assert torch.equal(triplane.to_table(store.planes()), store.table[0])


@pytest.mark.parametrize("use_depth", [True, False])
def test_rays_and_samples_lie_where_matter_can_be(views: Views, use_depth: bool) -> None:
    bank = RayBank(views, 32, 0.06, use_depth)
    generator = torch.Generator().manual_seed(0)
    batch = bank.batch(500, generator)
    assert (batch.last > batch.first).all() and len(bank) < views.rgba[..., 3].size
    for samples in (2, 5, 8):
        distance, delta = place(batch, samples, 0.06, generator)
        assert distance.shape == delta.shape == (500, samples)
        assert (distance.diff(dim=1) >= 0).all() and (delta >= 0).all()
        torch.testing.assert_close(delta.sum(1), batch.last - batch.first, atol=1e-3, rtol=1e-3)
    known = batch.surface > 0
    covered = (batch.first <= batch.surface + 1e-3) & (batch.surface <= batch.last + 1e-3)
    assert (known.float().mean() > 0.5) == use_depth and covered[known].all()
    empty = bank.empty_points(400, batch, generator)
    assert empty.shape == (400, 3) and (empty.abs() <= 1.0001).all()
    assert not lookup(bank.occupancy[None], empty[None, 200:]).any()
    depth = (empty[:200] - batch.origins[:200]).norm(dim=-1)
    assert (depth <= batch.first[:200] + 1e-4).all()


def test_views_without_empty_space_are_refused(views: Views) -> None:
    rgba = views.rgba.copy()
    rgba[..., 3] = 255
    with pytest.raises(ViewsError, match="mask the background"):
        RayBank(dataclasses.replace(views, rgba=rgba, depth=None), 8, 0.06, use_depth=False)


def test_schedules() -> None:
    assert rate(1.0, 0.1, 1.0) == pytest.approx(0.1)
    assert rate(1.0, 0.1, 0.02) == pytest.approx(1.0, rel=1e-2) and rate(1.0, 0.1, 0.0) < 0.2
    settings = dataclasses.replace(SETTINGS, resolution=64)
    generator = torch.Generator().manual_seed(0)
    drawn = [render_size(settings, generator) for _ in range(300)]
    assert 0.4 < drawn.count(64) / 300 < 0.6 and 0.15 < drawn.count(4) / 300 < 0.35
    assert set(drawn) <= set(range(4, 65)) and len(set(drawn)) > 20
