"""`python -m blender --views` writes a folder that reads back to exactly its cameras."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np

from blender.cameras import CameraSettings, sphere_cameras
from rodin.fit import FitSettings, Views, fit_decoder
from rodin.posed_images import read_posed_images

ROOT = Path(__file__).parents[2]


def test_a_written_folder_reads_back_and_can_be_fitted(tmp_path: Path, asset_cache: Path) -> None:
    words = ["--seed", "7", "--views", "10", "--size", "48", "--out", str(tmp_path / "views")]
    words += ["--cache-dir", str(asset_cache), "--render.samples", "2", "--render.depth"]
    done = subprocess.run(
        [sys.executable, "-m", "blender", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "transforms.json" in done.stdout
    views, placement, names = read_posed_images(tmp_path / "views")
    cameras = sphere_cameras(10, 7, 48, CameraSettings())
    assert np.abs(views.camera_to_world - cameras.camera_to_world).max() < 1e-6
    assert np.abs(views.intrinsics - cameras.intrinsics).max() < 1e-6
    assert placement.scale == 1 and names[3] == "images/0003.png"
    assert views.depth is not None
    assert ((views.depth > 0) == (views.rgba[..., 3] > 127)).mean() > 0.99
    assert np.abs(views.depth[views.depth > 0] - 4.8).max() < 1.75
    settings = FitSettings(
        resolution=32, base_resolution=16, held_out=2, decoder_steps=40, rays_per_step=256,
        occupancy_size=32, render_samples=48,
    )  # fmt: skip
    assert quality(views, settings) > quality(views, dataclasses.replace(settings, decoder_steps=1))


def quality(views: Views, settings: FitSettings) -> float:
    """Held-out PSNR; with a single step that of nothing."""
    from rodin.fit import evaluate

    decoder, planes = fit_decoder([views], settings, seed=0)
    _, held_out = views.split(settings.held_out)
    return evaluate(planes[0], decoder, held_out, samples=48)["psnr"]
