"""Fitting tri-planes to views: phase 2 (decoder frozen, many avatars); phase 1 is `fit_decoder`.

Source: Rodin (arXiv 2212.06135) section 3.1: first the decoder is shared by training it together
with some subjects' planes, then every avatar is fitted alone with the decoder frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rodin import metrics, triplane
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.fit_decoder import fit_decoder
from rodin.fit_settings import FitError, FitSettings, rate, render_size
from rodin.fit_step import check_finite, draw, step_gradient
from rodin.perceptual import PerceptualDistance
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank
from rodin.render import render_image
from rodin.views import Views, ViewsError

__all__ = [
    "FitError",
    "FitResult",
    "FitSettings",
    "Views",
    "ViewsError",
    "evaluate",
    "fit_decoder",
    "fit_many",
    "fit_planes",
]

Progress = Callable[[int, int, dict[str, float]], None]
_REPORT = 50  # steps between entries of a history


@dataclass(frozen=True)
class FitResult:
    """planes (3, C, R, R) float32; metrics of held-out views; history of (step, loss terms)."""

    planes: Tensor
    metrics: dict[str, float]
    history: list[tuple[int, dict[str, float]]]


@dataclass
class _Avatar:
    """One avatar while it is fitted."""

    index: int
    bank: RayBank
    held_out: Views
    generator: torch.Generator
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)


def fit_planes(
    views: Views,
    decoder: TriplaneDecoder,
    settings: FitSettings,
    *,
    seed: int,
    start: Tensor | None = None,
    measure: bool = True,
    progress: Progress | None = None,
) -> FitResult:
    """Fit one avatar's planes with the decoder frozen, from `start` (3, C, R, R) where given, else
    from the mean planes of the decoder's training.

    All randomness comes from `seed`; on the CPU with a fixed number of threads the same arguments
    give the same bytes. `progress(step, steps, losses)` is called now and then. Metrics are of the
    held-out views, see `evaluate`, with psnr_base for the planes resized to the base resolution;
    none without `measure`. Raises ViewsError, CameraError or FitError for input that cannot be
    fitted.
    """
    result = fit_many(
        [views], decoder, settings, seeds=[seed], start=start, measure=measure, progress=progress
    )[0]
    if isinstance(result, Exception):
        raise result
    return result


def fit_many(
    views: Sequence[Views],
    decoder: TriplaneDecoder,
    settings: FitSettings,
    *,
    seeds: Sequence[int],
    start: Tensor | None = None,
    measure: bool = True,
    progress: Progress | None = None,
) -> list[FitResult | ValueError]:
    """Fit the planes of several avatars at once, on the decoder's device.

    Every avatar has its own seed, rays and losses, so its planes do not depend on who else is in
    the batch, but for rounding. In place of its result an avatar that cannot be fitted has the
    reason: a ViewsError, CameraError or FitError; the others go on. `progress` is given the mean
    losses. All begin at `start` (3, C, R, R), by default the mean planes of the decoder's training.
    Without `measure` results have no metrics. Raises FitError when the settings do not fit the
    decoder.
    """
    if len(views) != len(seeds):
        raise FitError(f"{len(views)} avatars and {len(seeds)} seeds; pass a seed for each")
    if decoder.config.channels != settings.decoder.channels:
        raise FitError(
            f"the decoder takes planes of {decoder.config.channels} channels and the settings ask"
            f" for {settings.decoder.channels}; set decoder.channels to the decoder's"
        )
    results: dict[int, FitResult | ValueError] = {}
    avatars = []
    for index, (item, seed) in enumerate(zip(views, seeds, strict=True)):
        try:
            avatars.append(_prepare(index, item, settings, seed))
        except ValueError as error:
            results[index] = error
    if avatars:
        with _frozen(decoder):
            results |= _fit(avatars, decoder, settings, start, measure, progress)
    return [results[index] for index in range(len(views))]


def _prepare(index: int, views: Views, settings: FitSettings, seed: int) -> _Avatar:
    views.check()
    fitted, held_out = views.split(settings.held_out)
    bank = RayBank(fitted, settings.occupancy_size, settings.depth_band, settings.use_depth)
    return _Avatar(index, bank, held_out, torch.Generator().manual_seed(seed))


@contextmanager
def _frozen(decoder: TriplaneDecoder) -> Iterator[None]:
    trained = [p for p in decoder.parameters() if p.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _fit(
    avatars: list[_Avatar],
    decoder: TriplaneDecoder,
    settings: FitSettings,
    start: Tensor | None,
    measure: bool,
    progress: Progress | None,
) -> dict[int, FitResult | ValueError]:
    results: dict[int, FitResult | ValueError] = {}
    if start is None:
        start = start_planes(decoder, settings.resolution)
    store = PlaneStore(
        start.expand(len(avatars), -1, -1, -1, -1), start if settings.anchor_weight else None
    )
    for step in range(settings.steps):
        done = step / settings.steps
        # What all avatars have in common comes from the step's number: not from who is there.
        common = torch.Generator().manual_seed(step)
        size = render_size(settings, common)
        drawn = draw([a.bank for a in avatars], settings, [a.generator for a in avatars])
        terms = step_gradient(store, decoder, drawn.to(start.device), settings, common, size)
        store.step(rate(settings.plane_rate, settings.plane_rate_end, done))
        ended: dict[int, FitResult | ValueError] = {}
        last = step + 1 == settings.steps
        check = settings.check_every and (step + 1) % settings.check_every == 0
        report = last or check or step % _REPORT == 0
        if progress is not None and report:
            progress(step + 1, settings.steps, {k: float(v.mean()) for k, v in terms.items()})
        for row, avatar in enumerate(avatars):
            try:
                numbers = check_finite(terms, row, step)
            except FitError as error:
                ended[row] = error
                continue
            if check and not last:
                numbers |= _check(avatar, store.planes()[row], decoder, settings)
            if report:
                avatar.history.append((step, numbers))
            if last or 0 < settings.stop_psnr <= numbers.get("psnr", 0):
                planes = store.planes()[row].contiguous()
                scores = measured(planes, decoder, avatar.held_out, settings) if measure else {}
                ended[row] = FitResult(planes, scores, avatar.history)
        if ended:
            results |= {avatars[row].index: value for row, value in ended.items()}
            left = [row for row in range(len(avatars)) if row not in ended]
            avatars = [avatars[row] for row in left]
            if not avatars:
                break
            store.keep(left)
    return results


def _check(
    avatar: _Avatar, planes: Tensor, decoder: TriplaneDecoder, settings: FitSettings
) -> dict[str, float]:
    return evaluate(planes, decoder, avatar.held_out, samples=settings.render_samples)


def measured(
    planes: Tensor,
    decoder: TriplaneDecoder,
    held_out: Views,
    settings: FitSettings,
    features: PerceptualDistance | None = None,
) -> dict[str, float]:
    """Metrics of planes (3, C, R, R), see `evaluate`, with psnr_base for the planes resized to the
    base resolution."""
    samples = settings.render_samples
    scores = evaluate(planes, decoder, held_out, samples=samples, features=features)
    small = triplane.resize(planes[None], settings.base_resolution)[0]
    base = evaluate(small, decoder, held_out, samples=samples)
    return scores | {"psnr_base": base["psnr"]}


def start_planes(decoder: TriplaneDecoder, size: int) -> Tensor:
    """Where a fit begins, (3, C, size, size): the mean planes of the decoder's training, or 0."""
    if decoder.start.numel():
        return triplane.resize(decoder.start[None], size)[0]
    return decoder.start.new_zeros(3, decoder.config.channels, size, size)


def evaluate(
    planes: Tensor,
    decoder: TriplaneDecoder,
    views: Views,
    *,
    samples: int = 96,
    features: PerceptualDistance | None = None,
) -> dict[str, float]:
    """Quality of planes (3, C, R, R) on views, over white, each the mean over the views.

    psnr (dB); ssim in images of 11 pixels and more; alpha_iou; depth_error (box units) when the
    views have depth; features, the distance of a network of `rodin.perceptual`, when one is given.
    Nothing but planes and decoder is rendered: no hull, no depth.
    """
    target, alpha = metrics.images(views)
    height, width = views.rgba.shape[1:3]
    grid = occupancies.from_density(planes[None], decoder)[0]
    outputs = [
        render_image(planes, decoder, matrix, intrinsic, height, width,
                     samples=samples, occupancy=grid)
        for matrix, intrinsic in zip(*views.cameras(), strict=True)
    ]  # fmt: skip
    rgb = torch.stack([out.rgb for out in outputs]).cpu()
    rendered = torch.stack([out.alpha for out in outputs]).cpu()
    scores = {
        "psnr": metrics.psnr(rgb, target),
        "alpha_iou": metrics.alpha_iou(rendered, alpha),
    }
    if min(height, width) >= 11:
        scores["ssim"] = metrics.ssim(rgb, target)
    if views.depth is not None:
        depth = torch.stack([out.depth for out in outputs]).cpu()
        scores["depth_error"] = metrics.depth_error(depth, torch.as_tensor(views.depth))
    if features is not None:
        with torch.no_grad():
            pairs = (image.movedim(-1, 1) for image in (rgb, target))
            scores["features"] = features(*pairs)
    return {name: float(value.mean()) for name, value in scores.items()}
