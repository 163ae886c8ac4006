"""Phase 1 of the fitting: the shared decoder, trained together with the planes of some subjects.

Source: Rodin (arXiv 2212.06135) section 3.1. RodinHD found that visiting subjects one after another
makes the decoder forget; here every step draws subjects at random, so nothing is forgotten.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rodin.decoder import TriplaneDecoder
from rodin.fit_ranks import Ranks, check_ranks, choose
from rodin.fit_settings import FitError, FitSettings, rate, render_size
from rodin.fit_step import check_finite, draw, step_gradient
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank
from rodin.views import Views, ViewsError

_SEEDS = 2**62  # a step's draw of a seed for each of its subjects lies below


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
    ranks: Ranks | None = None,
) -> tuple[TriplaneDecoder, list[Tensor]]:
    """Train the decoder jointly with the planes of all subjects.

    Returns the decoder, whose `start` is the mean of the planes, and the planes, each
    (3, C, R, R). Held-out views of the subjects are not seen. `on_checkpoint(state)` is called
    every `checkpoint_every` steps with plain tensors and numbers; a run that is given such a state
    goes on from there and ends with the same bytes as one that never stopped.
    With several `ranks` every one of them passes its own subjects (`Ranks`) and gets their planes
    and the same decoder, which is that of a single process but for rounding. `on_checkpoint` is
    then called on rank 0, with the state of all, which any number of ranks can go on from.
    Raises ViewsError or CameraError (naming the subject) or FitError, on all ranks alike.
    """
    ranks = ranks or Ranks()
    total = int(ranks.total(torch.tensor(len(subjects), device=device)))
    banks = _banks(subjects, total, settings, ranks)
    generator = torch.Generator().manual_seed(seed)
    decoder = TriplaneDecoder(settings.decoder, generator).to(device)
    size = settings.resolution
    zeros = torch.zeros(1, 3, settings.decoder.channels, size, size, device=device)
    stores = [PlaneStore(zeros) for _ in subjects]
    optimiser = torch.optim.Adam(decoder.parameters(), betas=(0.9, 0.99), eps=1e-15, fused=True)
    first = 0
    if state is not None:
        _check_state(state, settings, seed, total)
        first = _restore(state, decoder, stores, optimiser, generator, ranks)
    for step in range(first, settings.decoder_steps):
        done = step / settings.decoder_steps
        optimiser.param_groups[0]["lr"] = rate(
            settings.decoder_rate, settings.decoder_rate_end, done
        )
        chosen = choose(total, settings, generator)
        optimiser.zero_grad()
        terms = _joint_step(chosen, banks, stores, decoder, settings, generator, ranks)
        numbers = _check_step(terms, decoder, step, ranks)
        optimiser.step()
        for index in ranks.owned(chosen):
            stores[index // ranks.count].step(
                rate(settings.plane_rate, settings.plane_rate_end, done)
            )
        if progress is not None and (step % 50 == 0 or step + 1 == settings.decoder_steps):
            progress(step + 1, settings.decoder_steps, numbers)
        if on_checkpoint is not None and (step + 1) % checkpoint_every == 0:
            planes = ranks.states(stores, total)
            if ranks.rank == 0:
                on_checkpoint(
                    _state(step + 1, settings, seed, decoder, planes, optimiser, generator)
                )
    fitted = [store.planes()[0].contiguous() for store in stores]
    decoder.start = ranks.total(torch.stack(fitted).sum(0)) / total
    return decoder, fitted


def _joint_step(
    chosen: list[int],
    banks: list[RayBank],
    stores: list[PlaneStore],
    decoder: TriplaneDecoder,
    settings: FitSettings,
    generator: torch.Generator,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Gradients of one step into the decoder (this rank's part of the mean over the chosen
    subjects) and the chosen stores; returns the loss terms of this rank's subjects."""
    size = render_size(settings, generator)
    seeds = torch.randint(_SEEDS, (len(chosen),), generator=generator).tolist()
    parts = []
    for index, seed in zip(chosen, seeds, strict=True):
        if index % ranks.count != ranks.rank:
            continue
        # Its own generator: what a subject draws must not depend on who else is on this rank.
        own = torch.Generator().manual_seed(seed)
        place = index // ranks.count
        drawn = draw([banks[place]], settings, [own], share=len(chosen))
        drawn = drawn.to(stores[place].table.device)
        noise = settings.feature_noise
        parts.append(step_gradient(stores[place], decoder, drawn, settings, own, size, noise))
    for parameter in decoder.parameters():
        if parameter.grad is not None:
            parameter.grad /= len(chosen)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _check_step(
    terms: dict[str, Tensor], decoder: TriplaneDecoder, step: int, ranks: Ranks
) -> dict[str, float]:
    """Sum the decoder's gradient over the ranks; returns this rank's mean loss terms.

    Raises FitError, on all ranks, when the loss of any is NaN or infinite.
    """
    gradients = [p.grad for p in decoder.parameters() if p.grad is not None]
    parts = [grad.flatten() for grad in gradients]
    parts.append(terms["total"].sum()[None].to(parts[0].device))
    summed = ranks.total(torch.cat(parts))
    for grad, part in zip(gradients, summed.split([len(part) for part in parts]), strict=False):
        grad.copy_(part.view_as(grad))
    error = None
    numbers: list[dict[str, float]] = []
    try:
        numbers = [check_finite(terms, row, step) for row in range(len(terms["total"]))]
    except FitError as found:
        error = found
    if not math.isfinite(float(summed[-1])):
        ranks.raise_together(error)
    return {k: sum(n[k] for n in numbers) / len(numbers) for k in numbers[0]}


def _banks(subjects: list[Views], total: int, settings: FitSettings, ranks: Ranks) -> list[RayBank]:
    """The rays of this rank's subjects; what cannot be fitted on one rank ends all of them."""
    banks: list[RayBank] = []
    error: ValueError | None = None
    try:
        if not total:
            raise FitError("no subjects; pass the views of at least 1 avatar")
        check_ranks(len(subjects), total, settings, ranks)
        banks = [
            _bank(ranks.rank + place * ranks.count, views, settings)
            for place, views in enumerate(subjects)
        ]
    except ValueError as found:
        error = found
    ranks.raise_together(error)
    return banks


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
    planes: list[dict[str, Any]],
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
        "planes": planes,
        "moments": moments,
        "generator": generator.get_state(),
    }


def _check_state(state: dict[str, Any], settings: FitSettings, seed: int, subjects: int) -> None:
    for name, now in (("settings", settings.digest()), ("seed", seed)):
        if state.get(name) != now:
            raise FitError(
                f"the checkpoint has {name} {state.get(name)} and this run {now}; use the old"
                f" {name} or start without the checkpoint"
            )
    if len(state["planes"]) != subjects:
        raise FitError(
            f"the checkpoint has {len(state['planes'])} subjects and this run {subjects};"
            " pass the same subjects or start without the checkpoint"
        )


def _restore(
    state: dict[str, Any],
    decoder: TriplaneDecoder,
    stores: list[PlaneStore],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    ranks: Ranks,
) -> int:
    decoder.load_state_dict(state["decoder"])
    for place, store in enumerate(stores):
        store.restore(state["planes"][ranks.rank + place * ranks.count])
    groups = optimiser.state_dict()["param_groups"]
    moments = copy.deepcopy(state["moments"])  # the optimiser goes on in the tensors it is given
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    generator.set_state(state["generator"])
    return int(state["step"])


__all__ = ["Ranks", "ViewsError", "fit_decoder"]
