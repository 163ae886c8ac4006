"""The speeds of a core that `rodin plan` reckons with: prints the constants of pipelines/work.py.

CPU seconds of one thread, so that other work on the machine counts less. Render constants are of
docs/benchmarks.md (`bench_render.py`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipelines import work
from pipelines.presets import PRESETS
from rodin import codecs
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.base import BaseSystem
from rodin.fit import FitSettings, Views, fit_planes


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def drawn(seed: int, count: int, size: int) -> Views:
    """Views of a person, with depth."""
    from blender.cameras import sphere_cameras
    from blender.render import RenderSettings, render_avatar
    from blender.spec import sample_spec

    cameras = sphere_cameras(count, seed, size)
    found = render_avatar(
        sample_spec(seed), cameras, RenderSettings(), Path("~/.cache/rodin").expanduser()
    )
    return Views(found.rgba, cameras.camera_to_world, cameras.intrinsics, found.depth)


def fit_speed(engine: FitSettings, views: Views) -> float:
    """Operations a core does in a second of fitting, set-up and measuring left out."""
    decoder = TriplaneDecoder(engine.decoder)
    quick = dataclasses.replace(engine, steps=160, held_out=1, render_samples=4)
    seen: dict[int, float] = {}
    fit_planes(
        views, decoder, quick, seed=0,
        progress=lambda step, *_: seen.setdefault(step, time.process_time()),
    )  # fmt: skip
    first, last = sorted(seen)[1:3]  # the first report comes before anything is warm
    return work.fit_operations(engine, last - first) / (seen[last] - seen[first])


def train_speed(preset: str) -> float:
    """Operations a core does in a second of training the base, optimiser left out."""
    settings = PRESETS[preset]
    model = settings.base.model
    channels = model.unet.plane_channels
    system = BaseSystem(model, torch.zeros(channels), torch.ones(channels))
    batch = {
        "planes": torch.randn(4, 3, channels, model.size, model.size),
        "portrait": torch.rand(4, 4, 64, 64),
    }
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        system.loss(batch, generator)["loss"].backward()

    step()
    _, operations, _ = work.training(settings, "base")
    return 4 * 8 * operations / cpu_seconds(lambda: [step() for _ in range(8)])


def pixel_bytes(size: int) -> float:
    """Bytes a pixel of people's views with depth, as stored."""
    total = 0
    for seed in (7, 8, 9):
        views = drawn(seed, 4, size)
        assert views.depth is not None
        near, far = codecs.depth_range(views.depth)
        for image, depth in zip(views.rgba, views.depth, strict=True):
            total += len(codecs.encode_webp(image)) + len(codecs.encode_depth(depth, near, far))
    return total / 12 / size**2


def main() -> None:
    torch.set_num_threads(1)
    print("| constant | measured now | in pipelines/work.py |")
    print("|---|---|---|")
    views = drawn(7, 12, 128)
    small, large = (
        FitSettings(),
        FitSettings(
            decoder=DecoderConfig(channels=32, hidden=64), resolution=128, rays_per_step=4096
        ),
    )
    for name, engine in (("16 channels, 64^2", small), ("32 channels, 128^2", large)):
        print(
            f"| CORE_FIT, {name} | {fit_speed(engine, views):.2e} | {work.CORE_FIT:.1e} |",
            flush=True,
        )
    print(f"| CORE_TRAIN, demo's base | {train_speed('demo'):.2e} | {work.CORE_TRAIN:.1e} |")
    for size in (128, 256):
        own = work.view_bytes(size) / size**2
        print(f"| bytes a pixel at {size} px | {pixel_bytes(size):.2f} | {own:.2f} |", flush=True)


if __name__ == "__main__":
    main()
