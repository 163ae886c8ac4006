"""Cycles: the settings that give the same pixels every time, drawing, reading pictures back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from blender.cameras import Cameras
from rodin.conventions import blender_matrix_from_camera


@contextmanager
def quiet() -> Iterator[None]:
    """Send file descriptor 1 to nowhere: Blender logs there from C."""
    sys.stdout.flush()
    keep = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(keep, 1)
        os.close(keep)
        os.close(sink)


def prepare(width: int, height: int, *, samples: int, denoise: bool, threads: int) -> None:
    """Cycles on the CPU, fixed threads, no dither, no adaptivity: the same pixels every time."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.seed = 0
    cycles.use_animated_seed = False
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_light_tree = False
    cycles.use_denoising = denoise
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.denoising_quality = "BALANCED"
    cycles.max_bounces = 6
    cycles.diffuse_bounces = 3
    cycles.glossy_bounces = 3
    cycles.transparent_max_bounces = 16
    cycles.caustics_reflective = cycles.caustics_refractive = False
    scene.cycles_curves.shape = "RIBBONS"
    scene.view_settings.view_transform = "Standard"
    render = scene.render
    render.film_transparent = True
    render.dither_intensity = 0.0
    render.use_persistent_data = True
    render.threads_mode, render.threads = "FIXED", threads
    render.resolution_x, render.resolution_y = width, height
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = False
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_depth = "32"
    render.image_settings.color_mode = "RGBA"


def add_camera() -> bpy.types.Object:
    """The scene's camera, without a place yet."""
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.data.sensor_fit = "HORIZONTAL"
    camera.data.clip_start, camera.data.clip_end = 0.01, 20.0
    return camera


def place(camera: bpy.types.Object, cameras: Cameras, index: int) -> None:
    """Put the camera where camera `index` stands, with its lens."""
    intrinsics = cameras.intrinsics[index]
    camera.matrix_world = Matrix(blender_matrix_from_camera(cameras.camera_to_world[index]))
    camera.data.angle = float(2 * np.arctan(cameras.width / 2 / intrinsics[0, 0]))
    camera.data.shift_x = float((cameras.width / 2 - intrinsics[0, 2]) / cameras.width)
    camera.data.shift_y = float((intrinsics[1, 2] - cameras.height / 2) / cameras.width)


def draw(camera: bpy.types.Object, cameras: Cameras, folder: Path, name: str) -> list[Path]:
    """Render every view into `folder`; returns the files.

    Nothing is loaded in between: new data-blocks make Cycles take over all strands again for the
    next view, a third of a second each time.
    """
    files = []
    for index in range(len(cameras)):
        place(camera, cameras, index)
        files.append(folder / f"{name}{index:04d}.exr")
        bpy.context.scene.render.filepath = str(files[-1])
        bpy.ops.render.render(write_still=True)
    return files


def read(file: Path) -> np.ndarray:
    """A picture's linear premultiplied RGBA (H, W, 4) float32, first row on top."""
    image = bpy.data.images.load(str(file))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    file.unlink()
    return pixels.reshape(height, width, 4)[::-1]


def encode(pixels: np.ndarray) -> np.ndarray:
    """Linear premultiplied floats (H, W, 4) to sRGB uint8 with straight alpha.

    The denoiser spreads colour but not alpha, so that on the outline colour over alpha may be far
    too bright: there the colour is that of the 3 x 3 neighbourhood, weighted by alpha.
    """
    alpha = np.clip(pixels[..., 3:], 0.0, 1.0)
    near = _box3(pixels)
    edge = alpha < 0.98
    light = np.where(edge, near, pixels)
    light = np.clip(light[..., :3] / np.maximum(light[..., 3:], 1e-4), 0.0, 1.0)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    out = np.rint(np.concatenate([curve, alpha], axis=-1) * 255).astype(np.uint8)
    out[out[..., 3] == 0] = 0
    return out


def _box3(image: np.ndarray) -> np.ndarray:
    """Mean of each pixel's 3 x 3 neighbourhood (H, W, C), the border repeated."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.float64)
    parts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return sum(parts[1:], parts[0]) / 9
