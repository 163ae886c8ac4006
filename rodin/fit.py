"""Fitting tri-planes to views: phase 2 (one avatar, frozen decoder); phase 1 is `fit_decoder`.

Source: Rodin (arXiv 2212.06135) section 3.1: first the decoder is shared by training it together
with some subjects' planes, then every avatar is fitted alone with the decoder frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rodin import metrics, triplane
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.fit_decoder import fit_decoder
from rodin.fit_step import (
    FitError,
    FitSettings,
    adam,
    check_finite,
    compose,
    losses_of,
    pyramid,
    rate,
)
from rodin.perceptual import PerceptualDistance
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
    "fit_planes",
]

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class FitResult:
    """planes (3, C, R, R) float32; metrics of held-out views; history of (step, loss terms)."""

    planes: Tensor
    metrics: dict[str, float]
    history: list[tuple[int, dict[str, float]]]


def fit_planes(
    views: Views,
    decoder: TriplaneDecoder,
    settings: FitSettings,
    *,
    seed: int,
    progress: Progress | None = None,
) -> FitResult:
    """Fit one avatar's planes with the decoder frozen.

    All randomness comes from `seed`; on the CPU with a fixed number of threads the same arguments
    give the same bytes. `progress(step, steps, losses)` is called now and then. Metrics are of the
    held-out views, see `evaluate`, with psnr_base for the planes resized to the base resolution.
    Raises ViewsError, CameraError or FitError for input that cannot be fitted.
    """
    views.check()
    if decoder.config.channels != settings.decoder.channels:
        raise FitError(
            f"the decoder takes planes of {decoder.config.channels} channels and the settings ask"
            f" for {settings.decoder.channels}; set decoder.channels to the decoder's"
        )
    fitted, held_out = views.split(settings.held_out)
    generator = torch.Generator().manual_seed(seed)
    bank = RayBank(fitted, settings.occupancy_size, settings.depth_band, settings.use_depth)
    levels = pyramid(start_planes(decoder, settings), settings)
    frozen = [p for p in decoder.parameters() if p.requires_grad]
    optimiser = adam([{"params": levels}])
    history = []
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for step in range(settings.steps):
            optimiser.param_groups[0]["lr"] = rate(
                settings.plane_rate, settings.plane_rate_end, step / settings.steps
            )
            optimiser.zero_grad()
            terms = losses_of(compose(levels)[None], decoder, [bank], settings, generator)
            check_finite(terms, step)
            terms["total"].backward()
            optimiser.step()
            if step % 50 == 0 or step + 1 == settings.steps:
                history.append((step, {k: float(v.detach()) for k, v in terms.items()}))
                if progress is not None:
                    progress(step + 1, settings.steps, history[-1][1])
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    with torch.no_grad():
        result = compose(levels)
    measured = evaluate(result, decoder, held_out, samples=settings.render_samples)
    small = triplane.resize(result[None], settings.base_resolution)[0]
    base = evaluate(small, decoder, held_out, samples=settings.render_samples)
    return FitResult(result, measured | {"psnr_base": base["psnr"]}, history)


def start_planes(decoder: TriplaneDecoder, settings: FitSettings) -> Tensor:
    """Where a fit begins: the mean planes of the decoder's training, or zeros. (3, C, R, R)."""
    size = settings.resolution
    if decoder.start.numel():
        return triplane.resize(decoder.start[None], size)[0]
    return torch.zeros(3, decoder.config.channels, size, size)


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
    rgb = torch.stack([out.rgb for out in outputs])
    rendered = torch.stack([out.alpha for out in outputs])
    scores = {
        "psnr": metrics.psnr(rgb, target),
        "alpha_iou": metrics.alpha_iou(rendered, alpha),
    }
    if min(height, width) >= 11:
        scores["ssim"] = metrics.ssim(rgb, target)
    if views.depth is not None:
        depth = torch.stack([out.depth for out in outputs])
        scores["depth_error"] = metrics.depth_error(depth, torch.as_tensor(views.depth))
    if features is not None:
        with torch.no_grad():
            pairs = (image.movedim(-1, 1) for image in (rgb, target))
            scores["features"] = features(*pairs)
    return {name: float(value.mean()) for name, value in scores.items()}
