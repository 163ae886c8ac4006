"""Views of synthetic people for the benchmarks: rendered once from seeds, then read from a folder.

Every person is one uncompressed-shape .npz (rgba, depth, cameras) named by seed, views and size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rodin.views import Views

ASSETS = Path("~/.cache/rodin").expanduser()
NAMES = ("rgba", "camera_to_world", "intrinsics", "depth")


def people(folder: Path, seeds: list[int], views: int, size: int, threads: int = 2) -> list[Views]:
    """Views (with depth, even light) of the people with these seeds; renders those not kept."""
    return [_person(folder, seed, views, size, threads) for seed in seeds]


def _person(folder: Path, seed: int, views: int, size: int, threads: int) -> Views:
    path = folder / f"{seed:05d}_{views}x{size}.npz"
    if not path.exists():
        _render(path, seed, views, size, threads)
    with np.load(path) as file:
        return Views(*(file[name] for name in NAMES))


def _render(path: Path, seed: int, views: int, size: int, threads: int) -> None:
    from blender.cameras import sphere_cameras
    from blender.render import RenderSettings, render_avatar
    from blender.spec import sample_spec

    print(f"renders person {seed}: {views} views of {size} px", file=sys.stderr)
    cameras = sphere_cameras(views, seed, size)
    settings = RenderSettings(samples=8, depth=True, threads=threads)
    result = render_avatar(sample_spec(seed), cameras, settings, ASSETS)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f".{path.name}")
    arrays = (result.rgba, cameras.camera_to_world, cameras.intrinsics, result.depth)
    with whole.open("wb") as file:
        np.savez_compressed(file, **dict(zip(NAMES, arrays, strict=True)))
    whole.rename(path)
