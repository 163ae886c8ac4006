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
    decoder = TriplaneDecoder(settings.decoder, generator)
    shape = (3, settings.decoder.channels, settings.resolution, settings.resolution)
    planes = [pyramid(torch.zeros(shape), settings) for _ in subjects]
    levels = [level for item in planes for level in item]
    optimiser = adam([{"params": levels}, {"params": list(decoder.parameters())}])
    first = 0
    if state is not None:
        first = _restore(state, settings, seed, decoder, planes, optimiser, generator)
    chosen_count = min(settings.subjects_per_step, len(subjects))
    for step in range(first, settings.decoder_steps):
        done = step / settings.decoder_steps
        rates = (
            rate(settings.plane_rate, settings.plane_rate_end, done),
            rate(settings.decoder_rate, settings.decoder_rate_end, done),
        )
        for group, value in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = value
        # Planes that a step does not draw keep grad None: Adam leaves them and their moments alone.
        optimiser.zero_grad()
        chosen = torch.randperm(len(subjects), generator=generator)[:chosen_count].tolist()
        terms = losses_of(
            torch.stack([compose(planes[i]) for i in chosen]),
            decoder,
            [banks[i] for i in chosen],
            settings,
            generator,
        )
        check_finite(terms, step)
        terms["total"].backward()
        optimiser.step()
        if progress is not None and (step % 50 == 0 or step + 1 == settings.decoder_steps):
            numbers = {k: float(v.detach()) for k, v in terms.items()}
            progress(step + 1, settings.decoder_steps, numbers)
        if on_checkpoint is not None and (step + 1) % checkpoint_every == 0:
            on_checkpoint(_state(step + 1, settings, seed, decoder, planes, optimiser, generator))
    with torch.no_grad():
        fitted = [compose(item) for item in planes]
    decoder.start = torch.stack(fitted).mean(0)
    return decoder, fitted


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
    planes: list[list[Tensor]],
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
        "planes": [[level.detach().clone() for level in item] for item in planes],
        "moments": moments,
        "generator": generator.get_state(),
    }


def _restore(
    state: dict[str, Any],
    settings: FitSettings,
    seed: int,
    decoder: TriplaneDecoder,
    planes: list[list[Tensor]],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    for name, now in (("settings", settings.digest()), ("seed", seed)):
        if state.get(name) != now:
            raise FitError(
                f"the checkpoint has {name} {state.get(name)} and this run {now}; use the old"
                f" {name} or start without the checkpoint"
            )
    if len(state["planes"]) != len(planes):
        raise FitError(
            f"the checkpoint has {len(state['planes'])} subjects and this run {len(planes)};"
            " pass the same subjects or start without the checkpoint"
        )
    decoder.load_state_dict(state["decoder"])
    with torch.no_grad():
        for item, values in zip(planes, state["planes"], strict=True):
            for level, value in zip(item, values, strict=True):
                level.copy_(value)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state["moments"], "param_groups": groups})
    generator.set_state(state["generator"])
    return int(state["step"])


__all__ = ["ViewsError", "fit_decoder"]
