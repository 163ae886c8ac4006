"""The training loop's one step, its moving average, and its exact state.

Progress is counted in samples seen, so that the batch size can change in mid-run. The random
numbers of a step are a function of (seed, samples seen, rank): a run that stops and goes on equals
one that never stopped, and there is no generator state to save.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rodin.ema import exponent, power_decay

STATE_VERSION = 2


class TrainingError(ValueError):
    """Training cannot go on; says at which step and why."""


@dataclass(frozen=True)
class TrainSettings:
    """How a system is trained."""

    total_samples: int = 4_800_000  # samples to see in all, over all workers
    batch_size: int = 48  # samples a step, over all workers
    learning_rate: float = 5e-5  # at its height (AdamW)
    warmup_samples: int = 48_000  # the learning rate rises linearly over these
    decay: Literal["constant", "cosine"] = "constant"  # after that; cosine falls to 0 at the end
    weight_decay: float = 0.0  # AdamW's
    beta2: float = 0.999  # AdamW's second moment
    accumulate: int = 1  # parts that a worker's batch is taken in, one after another: less memory
    grad_clip: float = 1.0  # largest norm of the gradient; 0 = not clipped
    ema_halflife: float = 332_000.0  # samples over which the average forgets half (0.9999 at 48)
    ema_ramp: float = 0.1  # the half-life is at most this share of the samples seen; 0 = no limit
    # relative widths of power-function averages kept beside it (EDM2), of which `rodin average`
    # makes those of other widths once training is over: (0.05, 0.1), or () for none
    ema_widths: tuple[float, ...] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on CUDA alone
    compile: bool = True  # torch.compile, on CUDA alone

    def __post_init__(self) -> None:
        for name in ("total_samples", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "ema_halflife"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup_samples", "weight_decay", "grad_clip", "ema_ramp"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be >= 0")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"train.beta2 is {self.beta2}; it must lie in [0, 1)")
        for width in self.ema_widths:
            exponent(width)
        if self.decay not in {"constant", "cosine"}:
            raise ValueError(f"train.decay is {self.decay!r}; use 'constant' or 'cosine'")
        if self.precision not in {"auto", "float32", "bfloat16"}:
            raise ValueError(
                f"train.precision is {self.precision!r}; use 'auto', 'float32' or 'bfloat16'"
            )

    def rate(self, samples: int) -> float:
        """Learning rate of the step that starts at this many samples."""
        rate = self.learning_rate
        if samples < self.warmup_samples:
            return rate * (samples + self.batch_size) / (self.warmup_samples + self.batch_size)
        if self.decay == "cosine":
            rest = max(1, self.total_samples - self.warmup_samples)
            done = min(1.0, (samples - self.warmup_samples) / rest)
            rate *= 0.5 * (1 + math.cos(math.pi * done))
        return rate

    def ema_decay(self, samples: int, batch: int) -> float:
        """Share that the average keeps in a step of `batch` samples, after `samples` in all.

        0.5 ** (batch / half-life), the half-life cut to a share of the samples seen (EDM2).
        """
        halflife = self.ema_halflife
        if self.ema_ramp:
            halflife = min(halflife, self.ema_ramp * samples)
        return 0.5 ** (batch / max(halflife, 1e-9))


def step_generator(seed: int, samples_seen: int, rank: int = 0) -> torch.Generator:
    """The CPU generator of one step: independent streams for every (seed, samples, rank)."""
    word = np.random.SeedSequence([seed, samples_seen, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word) % 2**63)


def draw_indices(count: int, batch_size: int, *, seed: int, samples_seen: int) -> list[int]:
    """Which of `count` samples make the next batch: shuffled epochs, a function of its arguments.

    Each epoch visits every sample once; a batch may reach into the next epoch.
    """
    if count < 1:
        raise ValueError("the training set is empty; fit some avatars first")
    picked: list[int] = []
    while len(picked) < batch_size:
        epoch, offset = divmod(samples_seen + len(picked), count)
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0]) % 2**63
        )
        order = torch.randperm(count, generator=generator).tolist()
        picked += order[offset : offset + batch_size - len(picked)]
    return picked


class Trainer:
    """Trains a system: a module called as (batch, generator), which returns its losses."""

    def __init__(
        self,
        system: nn.Module,
        settings: TrainSettings,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        workers: int = 1,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        shard: bool = False,
    ) -> None:
        """`wrap` makes the module that is called, as DistributedDataParallel over `workers`.

        With `shard` the workers hold a part each of the weights, their averages and the optimiser's
        state; then `ema`, `averages`, `state_dict` and `load_state_dict` are collectives.
        """
        wrong = {p.dtype for p in system.parameters()} - {torch.float32}
        if wrong:
            raise ValueError(
                f"the system has parameters of {wrong.pop()}; keep them float32 (their average "
                "would stop moving) and set train.precision to bfloat16"
            )
        self.settings = settings
        self.seed, self.rank, self.workers = seed, rank, workers
        self.device = torch.device(device)
        self.samples_seen = 0
        self.step_count = 0
        on_cuda = self.device.type == "cuda"
        system = system.to(self.device)
        if on_cuda:
            _channels_last(system)
        self.system = system
        self._ema = _average(system)
        self._averages = {width: _average(system) for width in settings.ema_widths}
        self._pieces: ModuleType | None = None
        self._whole: nn.Module | None = None  # takes the sharded average, on rank 0
        if shard:
            from rodin import sharding  # seconds of importing

            self._pieces = sharding
            self._whole = copy.deepcopy(self._ema.module) if rank == 0 else None
            for each in (system, self._ema.module, *(a.module for a in self._averages.values())):
                sharding.shard(each)
        model = wrap(system) if wrap is not None else system
        if on_cuda and settings.compile:
            model.compile()
        self._model = model
        bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and on_cuda)
        self._autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)
        self._optimiser = torch.optim.AdamW(
            system.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, settings.beta2),
            weight_decay=settings.weight_decay,
        )

    @property
    def ema(self) -> nn.Module:
        """The averaged system: what is sampled from. A sharded one is whole on rank 0 alone."""
        if self._pieces is None:
            return self._ema.module
        state = self._pieces.whole(self._ema.module.state_dict())
        if self._whole is None:
            return self._ema.module
        self._whole.load_state_dict(state)
        return self._whole

    @property
    def averages(self) -> dict[float, dict[str, Tensor]]:
        """States of the power-function averages, by their width."""
        states = {width: each.module.state_dict() for width, each in self._averages.items()}
        return states if self._pieces is None else self._pieces.whole(states)

    @property
    def done(self) -> bool:
        """Whether all samples were seen."""
        return self.samples_seen >= self.settings.total_samples

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One optimiser step on this worker's batch; returns its losses, "rate" and "grad_norm".

        TrainingError on a loss or gradient that is not finite, before any weight changes.
        """
        batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        count = next(iter(batch.values())).shape[0] * self.workers
        generator = step_generator(self.seed, self.samples_seen, self.rank)
        self._model.train()
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):  # dropout takes the global generator
            torch.manual_seed(generator.initial_seed())
            self._optimiser.zero_grad(set_to_none=True)
            losses = self._gradients(batch, generator)
        norm = self._gradient_norm()
        # With several workers the gradient is their mean: all of them see that it is not finite.
        if not (math.isfinite(losses["loss"]) and math.isfinite(norm)):
            self._optimiser.zero_grad(set_to_none=True)
            raise TrainingError(
                f"loss {losses['loss']} with gradient norm {norm} at step {self.step_count} "
                f"({self.samples_seen} samples seen): nothing was changed; lower learning_rate "
                f"({self.settings.learning_rate}) or look for non-finite planes in the batch"
            )
        rate = self.settings.rate(self.samples_seen)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self.samples_seen += count
        self.step_count += 1
        self._average_weights(count)
        return {**losses, "rate": rate, "grad_norm": norm}

    def _average_weights(self, count: int) -> None:
        """Moves the averages after a step of `count` samples."""
        decays = [(self._ema, self.settings.ema_decay(self.samples_seen, count))]
        for width, each in self._averages.items():
            decays.append((each, power_decay(width, self.samples_seen, count)))
        for average, decay in decays:
            average.multi_avg_fn = get_ema_multi_avg_fn(decay)
            average.update_parameters(self.system)

    def _gradients(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, float]:
        """Adds up the gradients of the batch's parts; returns the losses of the whole."""
        count = len(next(iter(batch.values())))
        if count < self.settings.accumulate:
            raise ValueError(
                f"train.accumulate is {self.settings.accumulate} but a worker's batch has {count} "
                "samples; make it smaller"
            )
        cuts = {key: value.tensor_split(self.settings.accumulate) for key, value in batch.items()}
        losses: dict[str, Tensor] = {}
        for i in range(self.settings.accumulate):
            part = {key: pieces[i] for key, pieces in cuts.items()}
            share = len(next(iter(part.values()))) / count
            last = i == self.settings.accumulate - 1
            # Workers exchange gradients once, with the last part.
            if self._pieces is not None:
                self._pieces.sync_gradients(self.system, last)
            waits = nullcontext() if last else getattr(self._model, "no_sync", nullcontext)()
            with waits:
                with self._autocast:
                    found = self._model(part, generator)
                (share * found["loss"]).backward()
            for name, value in found.items():
                losses[name] = losses.get(name, 0) + share * value.detach()
        return {name: float(value) for name, value in losses.items()}

    def _gradient_norm(self) -> float:
        """Norm of the gradient before it is clipped."""
        limit = self.settings.grad_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.system.parameters(), limit)
        return float(norm if self._pieces is None else self._pieces.whole(norm))

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on but the data: tensors, numbers and text alone.

        The same of a sharded system and of one that is not.
        """
        state = {
            "version": STATE_VERSION,
            "seed": self.seed,
            "samples_seen": self.samples_seen,
            "step_count": self.step_count,
            "settings": asdict(self.settings),
            "system": self.system.state_dict(),
            "ema": self._ema.state_dict(),
            "averages": {str(w): each.state_dict() for w, each in self._averages.items()},
            "optimiser": self._optimiser.state_dict(),
        }
        return state if self._pieces is None else self._pieces.whole(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; ValueError when it is of another version, seed or network."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(
                f"training state has version {state.get('version')}; this code reads "
                f"{STATE_VERSION}: start again, or use the code that wrote it"
            )
        if state["seed"] != self.seed:
            raise ValueError(
                f"training state has seed {state['seed']} but the run has {self.seed}; "
                "use the same seed to go on"
            )
        try:
            self._load(self.system, state["system"])
            self._load(self._ema, state["ema"])
            for width, average in self._averages.items():
                self._load(average, state["averages"][str(width)])
        except RuntimeError as error:
            first = str(error).strip().splitlines()
            raise ValueError(
                f"training state is of another network ({first[min(1, len(first) - 1)].strip()}); "
                "use the settings it was trained with"
            ) from error
        self._load_optimiser(state["optimiser"])
        self.samples_seen = int(state["samples_seen"])
        self.step_count = int(state["step_count"])

    def _load(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        """As `load_state_dict`, in the pieces that the module is in."""
        if self._pieces is not None:
            own = module.state_dict()
            state = {
                name: self._pieces.spread(value, own[name]) if name in own else value
                for name, value in state.items()
            }
        module.load_state_dict(state)

    def _load_optimiser(self, state: dict[str, Any]) -> None:
        if self._pieces is not None:
            parameters = list(self.system.parameters())
            moments = {
                i: {
                    name: value if value.ndim == 0 else self._pieces.spread(value, parameters[i])
                    for name, value in found.items()
                }
                for i, found in state["state"].items()
            }
            state = {**state, "state": moments}
        self._optimiser.load_state_dict(state)


def _average(system: nn.Module) -> AveragedModel:
    average = AveragedModel(system, multi_avg_fn=get_ema_multi_avg_fn(0.0))
    average.requires_grad_(False).eval()
    return average


def _channels_last(system: nn.Module) -> None:
    """Convolution weights in channels-last order, as tensor cores want them."""
    for parameter in system.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
