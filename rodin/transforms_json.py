"""Cameras out of a `transforms.json`, the file that nerfstudio, instant-ngp and NeRF data sets use.

A frame has `file_path`, `transform_matrix` (camera-to-world, 3x4 or 4x4, OpenGL axes: x right,
y up, z back) and may have `mask_path` and `depth_file_path`. Intrinsics (`fl_x fl_y cx cy w h`, or
`camera_angle_x` in radians) and the OpenCV distortion (`k1 k2 k3 p1 p2`) are global or per frame.
Source: docs.nerf.studio, "Data conventions"; instant-ngp, docs/nerf_dataset_tips.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rodin.views import ViewsError

Convention = Literal["opengl", "opencv"]
DISTORTION = ("k1", "k2", "k3", "p1", "p2")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
_PINHOLE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")


@dataclass(frozen=True)
class Frame:
    """One posed image: absolute files, an OpenCV camera-to-world (4, 4) in the file's world."""

    name: str  # file_path as written
    image: Path
    mask: Path | None
    depth: Path | None
    camera_to_world: np.ndarray
    values: dict[str, float]  # intrinsics and distortion: the frame's own, else the file's

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """(3, 3) in pixels for an image of that size, scaled when the file speaks of another."""
        values = self.values
        w, h = values.get("w", width), values.get("h", height)
        if not (w > 0 and h > 0) or abs(w / h - width / height) > 0.01 * width / height:
            raise ViewsError(
                f"{self.name} is {width} x {height} pixels and its camera {w:g} x {h:g}; give w and"
                " h of the image"
            )
        if "fl_x" in values:
            fx = values["fl_x"]
        elif "camera_angle_x" in values:
            fx = w / 2 / math.tan(values["camera_angle_x"] / 2)
        else:
            raise ViewsError(f"{self.name} has no focal length; give fl_x or camera_angle_x")
        fy = values.get("fl_y", fx)
        if "fl_y" not in values and "camera_angle_y" in values:
            fy = h / 2 / math.tan(values["camera_angle_y"] / 2)
        cx, cy = values.get("cx", w / 2), values.get("cy", h / 2)
        matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        matrix[:2] *= [[width / w], [height / h]]
        return matrix

    def distortion(self) -> tuple[float, ...]:
        """k1, k2, k3, p1, p2; all 0 for a pinhole."""
        return tuple(self.values.get(name, 0.0) for name in DISTORTION)


@dataclass(frozen=True)
class Transforms:
    """All frames of a file and what it says about its world."""

    path: Path
    frames: list[Frame]
    box: tuple[float, np.ndarray] | None  # instant-ngp's: unit box = scale * p + offset (3,)
    depth_unit: float  # world units a step of a 16-bit depth PNG


def read_transforms(path: Path | str, convention: Convention = "opengl") -> Transforms:
    """The frames of `path`: a JSON file, or a folder with transforms.json.

    Raises ViewsError for a missing file, damaged JSON, a matrix that is none, a fisheye camera.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("transforms.json", "transforms_train.json")]
        path = next((item for item in found if item.is_file()), found[0])
    try:
        content = json.loads(path.read_bytes())
        entries = content["frames"]
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise TypeError("frames is no list of objects")
    except FileNotFoundError:
        raise ViewsError(f"{path} does not exist; give a folder with transforms.json") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ViewsError(f"{path} is no transforms.json ({error}); see docs/fitting.md") from None
    frames = [_frame(path, content, entry, i, convention) for i, entry in enumerate(entries)]
    return Transforms(path, frames, _box(path, content), _depth_unit(path, content))


def _frame(
    path: Path, content: dict[str, Any], entry: dict[str, Any], index: int, convention: Convention
) -> Frame:
    name = entry.get("file_path")
    if not isinstance(name, str) or not name:
        raise ViewsError(f"{path}: frame {index} has no file_path; name its image")
    model = entry.get("camera_model", content.get("camera_model", "OPENCV"))
    if model not in _PINHOLE or entry.get("is_fisheye", content.get("is_fisheye")):
        raise ViewsError(
            f"{name} has the camera model {model}; undistort the images to a pinhole (OPENCV) first"
        )
    known = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y")
    values = {}
    for key in (*known, "k4", *DISTORTION):
        if (value := entry.get(key, content.get(key))) is not None:
            values[key] = _number(name, key, value)
    if values.pop("k4", 0.0):
        raise ViewsError(f"{name} has a distortion k4; undistort the images to a pinhole first")
    masks, depths = (_beside(path, entry, name, key) for key in ("mask_path", "depth_file_path"))
    return Frame(name, _image(path, name), masks, depths, _matrix(name, entry, convention), values)


def _number(name: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ViewsError(f"{name} has {key} = {value!r}; give a finite number")
    return float(value)


def _matrix(name: str, entry: dict[str, Any], convention: Convention) -> np.ndarray:
    try:
        rows = np.array(entry["transform_matrix"], np.float64)
        if rows.shape not in ((3, 4), (4, 4)):
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise ViewsError(f"{name} has no transform_matrix of 4 x 4 numbers; give one") from None
    if not np.isfinite(rows).all():
        raise ViewsError(
            f"transform_matrix of {name} holds NaN or infinity; estimate its pose again, or take"
            " the frame out"
        )
    matrix = np.eye(4)
    matrix[:3] = rows[:3]
    if convention == "opengl":
        matrix[:3, 1:3] *= -1  # y up, z back -> y down, z forward
    return matrix


def _image(path: Path, name: str) -> Path:
    """NeRF's synthetic scenes leave the suffix out."""
    for suffix in _SUFFIXES:
        if (file := path.parent / (name + suffix)).is_file():
            return file
    raise ViewsError(f"{path.parent / name} does not exist; {path.name} names it")


def _beside(path: Path, entry: dict[str, Any], name: str, key: str) -> Path | None:
    if not entry.get(key):
        return None
    file = path.parent / str(entry[key])
    if not file.is_file():
        raise ViewsError(f"{file} does not exist; it is the {key} of {name}")
    return file


def _box(path: Path, content: dict[str, Any]) -> tuple[float, np.ndarray] | None:
    """instant-ngp maps the world to the cube [0, 1]^3, or one of side aabb_scale about its centre:
    scale * p + offset. None where the file does not say both."""
    if "scale" not in content or "offset" not in content:
        return None
    scale = _number(path.name, "scale", content["scale"])
    side = _number(path.name, "aabb_scale", content.get("aabb_scale", 1))
    try:
        offset = np.array([_number(path.name, "offset", value) for value in content["offset"]])
        if offset.shape != (3,):
            raise TypeError
    except TypeError:
        raise ViewsError(f"{path}: offset is {content['offset']!r}; give 3 numbers") from None
    if scale <= 0 or side <= 0:
        raise ViewsError(f"{path}: scale {scale:g}, aabb_scale {side:g}; both must be over 0")
    return 2 * scale / side, (2 * offset - 1) / side


def _depth_unit(path: Path, content: dict[str, Any]) -> float:
    """nerfstudio's name and default: millimetres of a world in metres."""
    unit = _number(
        path.name, "depth_unit_scale_factor", content.get("depth_unit_scale_factor", 1e-3)
    )
    if unit <= 0:
        raise ViewsError(f"{path}: depth_unit_scale_factor is {unit:g}; it must be over 0")
    return unit
