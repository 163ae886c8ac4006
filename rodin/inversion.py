"""A portrait met more closely than its latent alone does: first the latent, then the planes, each
against the portrait by rendering.

After pivotal tuning (arXiv 2106.05744): search the latent, then change what it gives. There the
generator is tuned; here it is the one avatar's planes, while its own views from the sides and from
behind, which no portrait shows, are held as they are.

Legend: S pixels along an image, D latent, C plane channels, R and r plane sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras, metrics
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sampling import Noise
from rodin.fit import FitSettings, Views, fit_planes
from rodin.render import render, render_image

Progress = Callable[[str, int, int], None]
# of the avatar's own views that stay as they are, degrees: all that a portrait says nothing of
_AZIMUTHS = (60.0, 100.0, 140.0, 180.0, 220.0, 260.0, 300.0)


@dataclass(frozen=True)
class InversionSettings:
    """How a portrait is met."""

    latent_steps: int = 40  # steps of the search for the latent; 0: the encoder's stays
    latent_rate: float = 0.03  # Adam's learning rate of the latent, whose numbers have deviation 1
    latent_pull: float = 0.02  # of the mean square of what changes of the latent
    latent_size: int = 40  # px that the search renders
    latent_samples: int = 48  # samples along its rays
    plane_steps: int = 150  # steps on the planes; 0: they stay
    plane_rate: float = 8e-3  # Adam's learning rate of the planes at the start
    plane_anchor: float = 0.1  # of the mean square of what changes of the planes
    size: int = 128  # px of the views that the planes are fitted to
    portrait_views: int = 5  # times that the portrait counts beside the avatar's own views

    def __post_init__(self) -> None:
        for name, low in {
            "latent_steps": 0,
            "plane_steps": 0,
            "latent_size": 8,
            "size": 16,
        }.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; use at least {low}")


def front(size: int) -> tuple[Tensor, Tensor]:
    """Camera (4, 4) and lens (3, 3) of a portrait of size x size pixels."""
    return cameras.orbit(0.0, 0.0), cameras.intrinsics_from_fov(size, size)


def resized(portrait: Tensor, size: int) -> Tensor:
    """Straight-alpha RGBA (4, S, S) to (4, size, size), colours weighted by their alpha."""
    spread = torch.cat((portrait[:3] * portrait[3:], portrait[3:]))
    small = functional.interpolate(
        spread[None], (size, size), mode="bilinear", antialias=True, align_corners=False
    )[0].clamp(0, 1)
    return torch.cat((small[:3] / small[3:].clamp_min(1e-4), small[3:])).clamp(0, 1)


def invert_latent(
    base: BaseSystem,
    decoder: TriplaneDecoder,
    portrait: Tensor,
    latent: Tensor,
    settings: InversionSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """The latent (D,) near `latent` whose planes look most like the portrait (4, S, S) RGBA.

    The planes are those of one step out of the noise of `seed`, as few steps as the base allows:
    the gradient goes through all of it.
    """
    device = base.statistics.mean.device
    start = latent.detach().to(device)
    found = start.clone().requires_grad_()
    camera, lens = front(settings.latent_size)
    rays = cameras.rays(camera, lens, settings.latent_size, settings.latent_size)
    origins, directions = (part.reshape(1, -1, 3).to(device) for part in rays)
    target = resized(portrait, settings.latent_size).to(device).flatten(1).T[None]
    colour = metrics.over(target)
    # A network that answers with the noise says nothing of the planes where there is only noise.
    time = 0.5 if base.settings.output == "eps" else 1.0
    begin = torch.full((1,), time, device=device)
    noise = base.schedule.alpha_sigma(begin)[1].float() * Noise([seed], device)(base.plane_shape)
    optimiser = torch.optim.Adam([found], lr=settings.latent_rate)
    frozen = [p for p in (*base.parameters(), *decoder.parameters()) if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        base.eval()
        decoder.to(device)
        for step in range(settings.latent_steps):
            clean = base.denoiser(found[None])(noise, begin).clean
            planes = base.statistics.denormalise(clean)
            seen = render(planes, decoder, origins, directions, samples=settings.latent_samples)
            error = (seen.rgb - colour).square().mean()
            error = error + (seen.alpha - target[..., 3]).square().mean()
            pull = (found - start).square().mean()
            optimiser.zero_grad()
            (error + settings.latent_pull * pull).backward()
            optimiser.step()
            if progress is not None:
                progress("latent", step + 1, settings.latent_steps)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    return found.detach().to(latent.device)


def invert_planes(
    planes: Tensor,
    decoder: TriplaneDecoder,
    portrait: Tensor,
    settings: InversionSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Planes (3, C, R, R) changed to show the portrait (4, S, S) RGBA from the front and, from
    elsewhere, what they showed before. Raises ViewsError where nothing of them is seen."""
    if not settings.plane_steps:
        return planes
    views = _views(planes, decoder, portrait, settings)
    engine = FitSettings(
        decoder=decoder.config,
        resolution=planes.shape[-1],
        base_resolution=planes.shape[-1],
        held_out=1,
        steps=settings.plane_steps,
        plane_rate=settings.plane_rate,
        plane_rate_end=settings.plane_rate / 10,
        anchor_weight=settings.plane_anchor,
        scale_probability=0.0,
    )

    def report(done: int, total: int, _: dict[str, float]) -> None:
        if progress is not None:
            progress("planes", done, total)

    return fit_planes(
        views, decoder, engine, seed=seed, start=planes, measure=False, progress=report
    ).planes


def _views(
    planes: Tensor, decoder: TriplaneDecoder, portrait: Tensor, settings: InversionSettings
) -> Views:
    """The portrait, some times, and the avatar's own views, with the depth of its planes."""
    size = settings.size
    grid = occupancies.from_density(planes[None], decoder)[0]
    camera, lens = front(size)
    poses = [camera] + [cameras.orbit(angle, 10.0) for angle in _AZIMUTHS]
    shots = [
        render_image(planes, decoder, pose, lens, size, size, occupancy=grid, background=0.0)
        for pose in poses
    ]
    wanted = resized(portrait, size)
    images = [_bytes(wanted.movedim(0, -1))]
    depths = [_filled(shots[0].depth.numpy(), wanted[3].numpy() > 0)]
    for shot in shots[1:]:
        colour = (shot.rgb / shot.alpha[..., None].clamp_min(1e-4)).clamp(0, 1)
        images.append(_bytes(torch.cat((colour, shot.alpha[..., None]), -1)))
        depths.append(_filled(shot.depth.numpy(), shot.alpha.numpy() > 0))
    order = [0] * settings.portrait_views + list(range(1, len(poses)))
    return Views(
        np.stack([images[i] for i in order]),
        torch.stack([poses[i] for i in order]).numpy(),
        lens.expand(len(order), 3, 3).numpy(),
        np.stack([depths[i] for i in order]),
    )


def _bytes(image: Tensor) -> np.ndarray:
    return (image * 255).round().byte().numpy()


def _filled(depth: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Depth where an image is covered, that of the nearest pixel where it has none, 0 elsewhere."""
    from scipy.ndimage import distance_transform_edt

    if not (depth > 0).any():
        return np.zeros_like(depth)
    nearest = distance_transform_edt(depth <= 0, return_distances=False, return_indices=True)
    return np.where(covered, depth[tuple(nearest)], 0).astype(np.float32)
