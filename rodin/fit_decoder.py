"""Phase 1 of the fitting: the shared decoder, trained together with the planes of some subjects.

Source: Rodin (arXiv 2212.06135) section 3.1. RodinHD found that visiting subjects one after another
makes the decoder forget; here every step draws subjects at random, so nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rodin.decoder import TriplaneDecoder
from rodin.fit_settings import FitError, FitSettings, rate, render_size
from rodin.fit_step import check_finite, draw, step_gradient
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank
from rodin.views import Views, ViewsError


def fit_decoder(
    subjects: list[Views],
    settings: FitSettings,
    *,
    seed: int,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    state: dict[str, Any] | None = None,
    on_checkpoint: Callable[[dict[str, Any]], None] | None = None,
    checkpoint_every: int = 200,
    device: torch.device | str = "cpu",
) -> tuple[TriplaneDecoder, list[Tensor]]:
    """Train the decoder jointly with the planes of all subjects.

    Returns the decoder, whose `start` is the mean of the planes, and the planes, each
    (3, C, R, R). Held-out views of the subjects are not seen. `on_checkpoint(state)` is called
    every `checkpoint_every` steps with plain tensors and numbers; a run that is given such a state
    goes on from there and ends with the same bytes as one that never stopped.
    Raises ViewsError or CameraError (naming the subject) or FitError.
    """
    if not subjects:
        raise FitError("no subjects; pass the views of at least 1 avatar")
    banks = [_bank(index, views, settings) for index, views in enumerate(subjects)]
    generator = torch.Generator().manual_seed(seed)
    decoder = TriplaneDecoder(settings.decoder, generator).to(device)
    size = settings.resolution
    zeros = torch.zeros(1, 3, settings.decoder.channels, size, size, device=device)
    stores = [PlaneStore(zeros) for _ in subjects]
    optimiser = torch.optim.Adam(decoder.parameters(), betas=(0.9, 0.99), eps=1e-15, fused=True)
    first = 0
    if state is not None:
        first = _restore(state, settings, seed, decoder, stores, optimiser, generator)
    for step in range(first, settings.decoder_steps):
        done = step / settings.decoder_steps
        optimiser.param_groups[0]["lr"] = rate(
            settings.decoder_rate, settings.decoder_rate_end, done
        )
        chosen = torch.randperm(len(subjects), generator=generator)[: settings.subjects_per_step]
        optimiser.zero_grad()
        terms = _joint_step(chosen.tolist(), banks, stores, decoder, settings, generator)
        numbers = [check_finite(terms, row, step) for row in range(len(chosen))]
        optimiser.step()
        for index in chosen.tolist():
            stores[index].step(rate(settings.plane_rate, settings.plane_rate_end, done))
        if progress is not None and (step % 50 == 0 or step + 1 == settings.decoder_steps):
            means = {k: sum(n[k] for n in numbers) / len(numbers) for k in numbers[0]}
            progress(step + 1, settings.decoder_steps, means)
        if on_checkpoint is not None and (step + 1) % checkpoint_every == 0:
            on_checkpoint(_state(step + 1, settings, seed, decoder, stores, optimiser, generator))
    fitted = [store.planes()[0].contiguous() for store in stores]
    decoder.start = torch.stack(fitted).mean(0)
    return decoder, fitted


def _joint_step(
    chosen: list[int],
    banks: list[RayBank],
    stores: list[PlaneStore],
    decoder: TriplaneDecoder,
    settings: FitSettings,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Gradients of one step into the decoder (mean over subjects) and the chosen stores."""
    size = render_size(settings, generator)
    parts = []
    for index in chosen:
        drawn = draw([banks[index]], settings, [generator], share=len(chosen))
        drawn = drawn.to(stores[index].table.device)
        parts.append(
            step_gradient(
                stores[index], decoder, drawn, settings, generator, size, settings.feature_noise
            )
        )
    for parameter in decoder.parameters():
        if parameter.grad is not None:
            parameter.grad /= len(chosen)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _bank(index: int, views: Views, settings: FitSettings) -> RayBank:
    try:
        views.check()
        fitted, _ = views.split(settings.held_out)
    except ValueError as error:
        raise type(error)(f"subject {index}: {error}") from error
    return RayBank(fitted, settings.occupancy_size, settings.depth_band, settings.use_depth)


def _state(
    step: int,
    settings: FitSettings,
    seed: int,
    decoder: TriplaneDecoder,
    stores: list[PlaneStore],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, Any]:
    moments = {
        index: {name: value.clone() for name, value in entry.items()}
        for index, entry in optimiser.state_dict()["state"].items()
    }
    return {
        "step": step,
        "seed": seed,
        "settings": settings.digest(),
        "decoder": {name: value.clone() for name, value in decoder.state_dict().items()},
        "planes": [store.state() for store in stores],
        "moments": moments,
        "generator": generator.get_state(),
    }


def _restore(
    state: dict[str, Any],
    settings: FitSettings,
    seed: int,
    decoder: TriplaneDecoder,
    stores: list[PlaneStore],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    for name, now in (("settings", settings.digest()), ("seed", seed)):
        if state.get(name) != now:
            raise FitError(
                f"the checkpoint has {name} {state.get(name)} and this run {now}; use the old"
                f" {name} or start without the checkpoint"
            )
    if len(state["planes"]) != len(stores):
        raise FitError(
            f"the checkpoint has {len(state['planes'])} subjects and this run {len(stores)};"
            " pass the same subjects or start without the checkpoint"
        )
    decoder.load_state_dict(state["decoder"])
    for store, kept in zip(stores, state["planes"], strict=True):
        store.restore(kept)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state["moments"], "param_groups": groups})
    generator.set_state(state["generator"])
    return int(state["step"])


__all__ = ["ViewsError", "fit_decoder"]
