"""Rendering an avatar from many cameras: colours with straight alpha, and exact ground truth."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from blender import BuildError
from blender.body import Body, Shaped, load_body
from blender.cameras import Cameras, make_cameras
from blender.cycles import add_camera, draw, encode, place, prepare, quiet, read
from blender.fingerprint import fingerprint
from blender.landmarks import Landmarks, landmark_points, locate
from blender.light_rigs import Light
from blender.passes import decode_truth, prepare_truth
from blender.scene import build_scene
from blender.spec_types import AvatarSpec


@dataclass(frozen=True)
class RenderSettings:
    """How an avatar is drawn."""

    samples: int = 8  # Cycles samples a pixel
    denoise: bool = True  # OpenImageDenoise; off makes pixels bit-identical between runs
    light: Light = "even"  # the rig; 'varied' is another one for every seed
    depth: bool = True  # exact depth; it and the next three share one quick extra render
    normals: bool = False  # exact normals
    labels: bool = False  # classes of the pixels: skin, lips, hair, glasses, ...
    landmarks: bool = False  # 68 facial landmarks, projected, with visibility
    threads: int = 2  # Cycles threads, fixed
    subdivision: int = 1  # Catmull-Clark levels of the skin, 2 for close-ups past 256 pixels

    def __post_init__(self) -> None:
        for name, low, high in (
            ("samples", 1, 4096),
            ("threads", 1, 256),
            ("subdivision", 0, 3),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; use {low} to {high}")


@dataclass(frozen=True)
class Rendered:
    """V views; None for what was not asked for."""

    rgba: np.ndarray  # (V, H, W, 4) uint8, sRGB, straight alpha, 0 where alpha is 0
    depth: np.ndarray | None = None  # (V, H, W) float32, box units along camera z, 0 = nothing
    normals: np.ndarray | None = None  # (V, H, W, 3) float32, unit, avatar frame, 0 = nothing
    labels: np.ndarray | None = None  # (V, H, W) uint8, see `blender.labels`
    landmarks: Landmarks | None = None
    geometry: str = ""  # `blender.fingerprint` of the scene


_bodies: dict[Path, Body] = {}


def cached_body(cache_dir: Path) -> Body:
    """The body model of a cache folder, loaded once a process and baked there if need be."""
    path = Path(cache_dir).resolve()
    if path not in _bodies:
        _bodies[path] = load_body(path)
    return _bodies[path]


def build(
    spec: AvatarSpec, cache_dir: Path, *, subdivision: int = 1, light: Light = "even"
) -> Shaped:
    """Put the avatar of `spec` into Blender's scene, which is emptied first.

    The body model is baked into `cache_dir` on first use. Raises BuildError for whatever keeps
    this one avatar from being built; a missing package or a full disk is nobody's fault and passes.
    """
    body = cached_body(cache_dir)
    try:
        return build_scene(spec, body, subdivision=subdivision, light=light)
    except (BuildError, OSError, MemoryError):
        raise
    except Exception as error:
        raise BuildError(
            f"avatar {spec.seed} cannot be built: {type(error).__name__}: {error}"
        ) from error


def render_avatar(
    spec: AvatarSpec, cameras: Cameras, settings: RenderSettings, cache_dir: Path
) -> Rendered:
    """Build the avatar of `spec` and draw it from every camera.

    Raises BuildError when the avatar cannot be built or leaves a view empty.
    """
    wanted = (settings.depth, settings.normals, settings.labels, settings.landmarks)
    with quiet(), tempfile.TemporaryDirectory(prefix="blender-") as folder:
        shaped = build(spec, cache_dir, subdivision=settings.subdivision, light=settings.light)
        geometry = fingerprint()
        _prepare(settings, cameras)
        camera = add_camera()
        files = draw(camera, cameras, Path(folder), "colour")
        if any(wanted):
            prepare_truth()
            files += draw(camera, cameras, Path(folder), "truth")
        images = np.stack([read(file) for file in files])
    count = len(cameras)
    rgba = np.stack([encode(image) for image in images[:count]])
    if not rgba[..., 3].any(axis=(1, 2)).all():
        raise BuildError(
            f"avatar {spec.seed} left a view empty; check that its cameras look at the box"
        )
    if not any(wanted):
        return Rendered(rgba, geometry=geometry)
    truth = decode_truth(images[count:])
    return Rendered(
        rgba=rgba,
        depth=truth.depth if settings.depth else None,
        normals=truth.normals if settings.normals else None,
        labels=truth.labels if settings.labels else None,
        landmarks=locate(landmark_points(shaped), cameras, truth.depth)
        if settings.landmarks
        else None,
        geometry=geometry,
    )


def save_blend(spec: AvatarSpec, path: Path, settings: RenderSettings, cache_dir: Path) -> None:
    """Write the avatar of `spec` as a .blend file, lit, with a frontal camera, ready to render."""
    cameras = make_cameras([(0.0, 0.0)], 1024)
    with quiet():
        build(spec, cache_dir, subdivision=settings.subdivision, light=settings.light)
        _prepare(settings, cameras)
        place(add_camera(), cameras, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), compress=True, copy=True)


def _prepare(settings: RenderSettings, cameras: Cameras) -> None:
    prepare(
        cameras.width,
        cameras.height,
        samples=settings.samples,
        denoise=settings.denoise,
        threads=settings.threads,
    )
