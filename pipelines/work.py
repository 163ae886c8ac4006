"""How much work the stages of a run are, and how fast machines do it: the planner's arithmetic.

Speeds of a core are CPU seconds of one thread, measured on the machine of docs/benchmarks.md
(November 2026). Speeds of GPUs are assumed until a pilot run replaces them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from infra.plan import SPLITS
from infra.storage import Store, open_store
from pipelines.options import UsageError
from pipelines.settings import BaseStage, FitStage, RenderStage, RunSettings
from rodin.decoder import TriplaneDecoder
from rodin.fit import FitSettings

# Rendering, core seconds: a view costs VIEW + size^2 * (PIXEL + SAMPLE * samples), a person BUILD.
BUILD, VIEW, PIXEL, SAMPLE = 0.9, 0.03, 4.2e-6, 2.3e-6
# Fitting: operations a core does in a second, counted as `fit_operations` counts them: 1.0e10 at 16
# channels and 64^2 texels, 1.6e10 at 32 and 128^2.
CORE_FIT = 1.3e10
# Training: operations a core does in a second, forward and backward of the demo's base U-Net.
CORE_TRAIN = 4.4e10
# WebP of a view with its 16-bit depth: bytes a pixel at 128 px, falling with the size.
VIEW_BYTES, VIEW_POWER = 1.25, -0.22


@dataclass(frozen=True)
class Gpu:
    """Assumed speeds of a GPU."""

    peak: float  # operations a second in bfloat16 (V100: float16), dense, from the maker

    @property
    def fit(self) -> float:
        """Operations a second of fitting. RodinHD (arXiv 2407.06938) reports 25,000 steps of
        8,192 rays in 15 minutes of a V100; with 64 samples a ray that is FIT_SHARE of its peak."""
        return FIT_SHARE * self.peak


FIT_SHARE = 0.05
GPUS = {"v100": Gpu(1.25e14), "a100": Gpu(3.12e14), "h100": Gpu(9.89e14)}


def fit_operations(engine: FitSettings, steps: int) -> float:
    """Operations of `steps` steps: lookup and decoder of every sample, forward and backward, and
    the planes' own regularisers and optimiser."""
    config = engine.decoder
    decoder = sum(p.numel() for p in TriplaneDecoder(config).parameters())
    points = engine.rays_per_step * engine.samples_per_ray
    points += engine.empty_points + 2 * engine.compact_points
    sample = 3 * (2 * 12 * config.channels + 2 * decoder)
    return steps * (points * sample + 20 * 3 * config.channels * engine.resolution**2)


def render_work(stage: RenderStage) -> float:
    """Core seconds of one avatar on the machine of the table."""
    return BUILD + stage.views * (VIEW + stage.size**2 * (PIXEL + SAMPLE * stage.samples))


@dataclass(frozen=True)
class Pilot:
    """What a finished run took: seconds an avatar of one device, and the settings it had."""

    render: float | None
    render_stage: RenderStage
    fit: float | None
    fit_stage: FitStage
    on_gpu: bool


def pilot(out: str) -> Pilot:
    """Reads a run's shards (their sidecars have seconds) and settings.

    Raises UsageError where the run has neither views nor tri-planes.
    """
    from pydantic import TypeAdapter

    store = open_store(out)
    if not store.exists("config.json"):
        raise UsageError(f"--measured {out} is no run: it has no config.json")
    config = json.loads(store.read("config.json"))["settings"]
    settings: RunSettings = TypeAdapter(RunSettings).validate_python(config)
    resources = settings.resources
    seconds = {name: worker_seconds(store.child(name)) for name in ("views", "triplanes")}
    if not any(seconds.values()):
        raise UsageError(f"--measured {out} has neither views nor tri-planes; let it finish")
    render, fit = seconds["views"], seconds["triplanes"]
    devices = resources.gpus_per_fit or resources.cpus_per_worker
    return Pilot(
        None if render is None else render * resources.cpus_per_worker,
        settings.render,
        None if fit is None else fit * devices,
        settings.fit,
        bool(resources.gpus_per_fit),
    )


def worker_seconds(store: Store) -> float | None:
    """Seconds of a worker for one sample of a data set, by its sidecars; None without any."""
    names = [key for split in SPLITS for key in store.list(f"{split}/") if key.endswith(".json")]
    found = [json.loads(store.read(name)) for name in names]
    count = sum(len(item["rows"]) for item in found)
    return sum(item["seconds"] for item in found) / count if count else None


def render_seconds(settings: RunSettings, measured: Pilot | None) -> float:
    """Core seconds an avatar; a pilot's, scaled by the work of both settings."""
    own = render_work(settings.render)
    if measured is None or measured.render is None:
        return own
    return measured.render * own / render_work(measured.render_stage)


def fit_seconds(settings: RunSettings, kind: str, measured: Pilot | None) -> float:
    """Seconds an avatar of a core (kind "") or a GPU.

    A pilot's, scaled by the work of both settings: those of a GPU as they are, those of cores on a
    GPU by the table's ratio of the two.
    """
    engine = settings.fit.engine
    operations = fit_operations(engine, engine.steps)
    speed = GPUS[kind].fit if kind else CORE_FIT
    if measured is not None and measured.fit is not None:
        before = measured.fit_stage.engine
        if measured.on_gpu and not kind:
            raise UsageError(
                "the measured run fitted on a GPU: name the machines that it had with --fit-node"
            )
        factor = 1.0 if measured.on_gpu or not kind else CORE_FIT / speed
        return factor * measured.fit * operations / fit_operations(before, before.steps)
    return operations / speed


def decoder_seconds(settings: RunSettings, kind: str, measured: Pilot | None) -> float:
    """Seconds of the joint phase on one device."""
    engine = settings.fit.engine
    ratio = fit_operations(engine, engine.decoder_steps) / fit_operations(engine, engine.steps)
    return ratio * fit_seconds(settings, kind, measured)


def training(settings: RunSettings, name: str) -> tuple[int, float, int]:
    """(samples, operations a sample, parameters) of a training stage's U-Net."""
    stage: BaseStage | Any = getattr(settings, name)
    operations, parameters = _network(stage.model.unet, stage.model.size)
    return stage.train.total_samples, operations, parameters


@cache
def _network(settings: Any, size: int) -> tuple[float, int]:
    """(operations a sample, parameters) of a U-Net; seconds for a large one."""
    from rodin.nn.cost import unet_cost

    cost = unet_cost(settings, size)
    return float(cost.training_flops), cost.parameters


def training_speed(kind: str, utilisation: float) -> float:
    """Operations a second of a core (kind "") or a GPU in training."""
    return GPUS[kind].peak * utilisation if kind else CORE_TRAIN


def view_bytes(size: int) -> float:
    """Bytes of one view of `size` px as WebP, with its depth."""
    return size**2 * VIEW_BYTES * (size / 128) ** VIEW_POWER


def views_bytes(settings: RunSettings) -> float:
    """Bytes of an avatar's views."""
    return settings.render.views * view_bytes(settings.render.size)


def plane_bytes(settings: RunSettings) -> float:
    """Bytes of an avatar's tri-plane in half precision, with its portrait and kept views."""
    engine = settings.fit.engine
    planes = 2 * 3 * engine.decoder.channels * engine.resolution**2
    return planes + (1 + settings.fit.views_kept) * view_bytes(settings.render.size)


def assumptions(kinds: set[str], measured: str, utilisation: float) -> list[str]:
    """What the speeds rest on, a sentence each."""
    lines = []
    if measured:
        lines.append(
            f"rendering and fitting: as measured in {measured}, scaled by the settings' work;"
            " cores and GPUs are taken to be those of that run"
        )
    else:
        lines.append(
            "rendering: measured on one core at 128 and 256 px, 8 and 16 samples; other sizes are"
            " extrapolated"
        )
        lines.append(f"fitting: measured on one core, {CORE_FIT / 1e9:.1f} G operations a second")
    for kind in sorted(kinds - {""}):
        gpu = GPUS[kind]
        lines.append(
            f"{kind}: fits at {FIT_SHARE:.0%} (from RodinHD's 15 minutes of a V100 an avatar) and"
            f" trains at {utilisation:.0%} of {gpu.peak / 1e12:.0f} TFLOP/s: ASSUMED, unless a run"
            " on it is given as --measured"
        )
    lines.append(
        "training counts the U-Nets alone: neither the upsampler's rendered patches nor the refiner"
    )
    lines.append("views: bytes a pixel measured at 128 and 256 px, fewer a pixel in larger ones")
    return lines
