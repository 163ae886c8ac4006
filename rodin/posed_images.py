"""A folder of posed images -> `Views`: the way in for other people's data.

Cameras come from `transforms_json`, their place in the unit box from `placement`. What belongs to
the avatar is told by alpha, by masks, or by a plain background.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rodin import cameras
from rodin.placement import Placement, Up, place
from rodin.transforms_json import Convention, Frame, read_transforms
from rodin.views import MIN_VIEWS, Views, ViewsError

if TYPE_CHECKING:
    from PIL import Image

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": (0, 255, 0)}


@dataclass(frozen=True)
class PosedImageSettings:
    """How a folder of posed images is read."""

    # box units a unit of the file; auto: as the file says, else from the cameras
    scale: float | Literal["auto"] = "auto"
    # box units, added after scale and up; auto: the same
    offset: tuple[float, float, float] | Literal["auto"] = "auto"
    up: Up = "auto"  # axis of the file's world that points up; auto: as most cameras have it
    front: str = ""  # file_path of the image that looks at the face; "": the world is not turned
    convention: Convention = "opengl"  # axes of the cameras in transform_matrix
    background: str = ""  # plain colour behind images without alpha or mask: white, black, #rrggbb
    tolerance: int = 12  # levels of 255 that such a background may differ from its colour
    size: int = 0  # px, longer side that images are resized to; 0: as they are
    use_depth: bool = True  # read depth_file_path where all frames have one

    def __post_init__(self) -> None:
        if self.scale != "auto" and not self.scale > 0:
            raise ViewsError(f"scale is {self.scale}; use more than 0")
        if self.size and self.size < 16:
            raise ViewsError(f"size is {self.size} px; use at least 16, or 0 to keep images")
        if self.background:
            colour(self.background)


def colour(text: str) -> tuple[int, int, int]:
    """RGB (0..255) of white, black, green or #rrggbb."""
    if text in _COLOURS:
        return _COLOURS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ViewsError(f"background is {text!r}; use white, black, green or #rrggbb")
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


def read_posed_images(
    path: Path | str, settings: PosedImageSettings | None = None
) -> tuple[Views, Placement, list[str]]:
    """(views, how they were placed, names of the frames) of a folder with transforms.json.

    With `front` that frame comes first: view 0 is the portrait. Raises ViewsError that names the
    file: missing, damaged, of another size, all transparent, opaque everywhere, a camera that
    does not look at the box, fewer than four frames.
    """
    settings = settings or PosedImageSettings()
    transforms = read_transforms(path, settings.convention)
    frames = transforms.frames
    names = [frame.name for frame in frames]
    if len(frames) < MIN_VIEWS:
        raise ViewsError(f"{transforms.path} has {len(frames)} frames; give at least {MIN_VIEWS}")
    if settings.front:
        if settings.front not in names:
            raise ViewsError(f"no frame has the file_path {settings.front!r}; one is {names[0]!r}")
        frames = sorted(frames, key=lambda frame: frame.name != settings.front)
        names = [frame.name for frame in frames]
    depths = settings.use_depth and all(frame.depth for frame in frames)
    rgba: list[np.ndarray] = []
    intrinsics: list[np.ndarray] = []
    depth: list[np.ndarray] = []
    for frame in frames:
        image, lens, distance = _frame(frame, settings, transforms.depth_unit if depths else None)
        if rgba and image.shape != rgba[0].shape:
            raise ViewsError(
                f"{frame.name} is {image.shape[1]} x {image.shape[0]} pixels and {names[0]}"
                f" {rgba[0].shape[1]} x {rgba[0].shape[0]}; give images of one size"
            )
        rgba.append(image)
        intrinsics.append(lens)
        if distance is not None:
            depth.append(distance)
    pixels, lenses = np.stack(rgba), np.stack(intrinsics)
    if (pixels[..., 3] == 255).all():
        raise ViewsError(
            f"{names[0]} and all others are opaque everywhere; give RGBA images, a mask_path a"
            " frame, or the plain --background colour"
        )
    height, width = pixels.shape[1:3]
    half = np.minimum(width / 2 / lenses[:, 0, 0], height / 2 / lenses[:, 1, 1])
    placement = place(
        np.stack([frame.camera_to_world for frame in frames]),
        half,
        scale=None if settings.scale == "auto" else settings.scale,
        offset=None if settings.offset == "auto" else settings.offset,
        up=settings.up,
        front=0 if settings.front else None,
        box=transforms.box,
    )
    matrices = placement.cameras(np.stack([frame.camera_to_world for frame in frames]))
    scaled = (np.stack(depth) * placement.scale).astype(np.float32) if depths else None
    views = Views(pixels, matrices, lenses, scaled)
    _check(views, names, placement)
    return views, placement, names


def _check(views: Views, names: list[str], placement: Placement) -> None:
    """`Views.check`, with the names of the files."""
    for index, name in enumerate(names):
        try:
            matrix, lens = (item[index : index + 1] for item in views.cameras())
            cameras.check(matrix, lens, *views.rgba.shape[1:3])
        except cameras.CameraError as error:
            text = str(error).replace("view 0", name)
            raise ViewsError(f"{text}. How cameras were placed: {placement.text}") from None
    views.check()


def _frame(
    frame: Frame, settings: PosedImageSettings, depth_unit: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """rgba (H, W, 4) uint8, intrinsics (3, 3) and depth (H, W) in world units of one frame."""
    from PIL import Image

    image = _open(frame.image)
    if image.mode == "F" or image.mode.startswith("I"):
        raise ViewsError(
            f"{frame.name} has pixels of Pillow's mode {image.mode}, floats or wide integers; save"
            " it with 8 bits a channel"
        )
    rgba = image.convert("RGBA")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if not has_alpha and frame.mask is None and not settings.background:
        raise ViewsError(
            f"{frame.name} has no alpha; give RGBA images, a mask_path a frame, or the plain"
            " --background colour"
        )
    if frame.mask is not None:
        mask = _open(frame.mask).convert("L")
        if mask.size != rgba.size:
            raise ViewsError(
                f"the mask of {frame.name} is {mask.size} pixels and the image {rgba.size}; give"
                " masks of the image's size"
            )
        alpha = np.minimum(np.asarray(mask), np.asarray(rgba)[..., 3])
        rgba.putalpha(Image.fromarray(alpha))
    elif settings.background and np.asarray(rgba)[..., 3].min() == 255:
        rgba.putalpha(Image.fromarray(_cut_out(np.asarray(rgba)[..., :3], settings)))
    lens = frame.intrinsics(*rgba.size)
    pixels = np.asarray(rgba)
    depth = None if depth_unit is None else _depth(frame, pixels.shape[:2], depth_unit)
    if any(frame.distortion()):
        pixels, depth = undistort(pixels, depth, lens, frame.distortion())
    if settings.size:
        height, width = pixels.shape[:2]
        factor = settings.size / max(height, width)
        target = (round(width * factor), round(height * factor))
        lens[:2] *= [[target[0] / width], [target[1] / height]]
        # Pillow resizes RGBA premultiplied, so that no hidden colour bleeds in.
        pixels = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BOX))
        if depth is not None:
            depth = np.asarray(Image.fromarray(depth).resize(target, Image.Resampling.NEAREST))
    if not pixels[..., 3].any():
        raise ViewsError(
            f"{frame.name} is all transparent; take the frame out, or aim its camera at the subject"
        )
    return np.where(pixels[..., 3:] == 0, np.uint8(0), pixels), lens, depth


def _open(path: Path) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # Pillow raises many classes for damaged files
        raise ViewsError(f"{path} is no image that can be read ({type(error).__name__})") from None


def _cut_out(rgb: np.ndarray, settings: PosedImageSettings) -> np.ndarray:
    """Alpha (H, W) uint8: 0 where the background's colour reaches the border of the picture."""
    from scipy import ndimage

    away = np.abs(rgb.astype(np.int16) - colour(settings.background)).max(-1)
    regions, _ = ndimage.label(away <= settings.tolerance)
    edge = np.concatenate((regions[0], regions[-1], regions[:, 0], regions[:, -1]))
    behind = np.isin(regions, np.unique(edge[edge > 0]))
    return np.where(behind, np.uint8(0), np.uint8(255))


def _depth(frame: Frame, shape: tuple[int, ...], unit: float) -> np.ndarray:
    """(H, W) float32 world units along camera z; 0 where nothing is."""
    assert frame.depth is not None
    if frame.depth.suffix == ".npy":
        try:
            values: Any = np.load(frame.depth, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ViewsError(f"{frame.depth} is no array ({error}); write float32 npy") from None
        depth = np.asarray(values, np.float32)
    else:
        depth = np.asarray(_open(frame.depth)).astype(np.float32) * np.float32(unit)
    depth = depth.reshape(depth.shape[:2]) if depth.shape[2:] == (1,) else depth
    if depth.shape != shape:
        raise ViewsError(f"{frame.depth} is {depth.shape} and its image {shape}; give one size")
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise ViewsError(f"{frame.depth} holds NaN, infinity or negative depth; 0 means unknown")
    return depth


def undistort(
    rgba: np.ndarray,
    depth: np.ndarray | None,
    intrinsics: np.ndarray,
    coefficients: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (H, W, 4) uint8 and depth (H, W) as a pinhole with the same intrinsics sees them.

    coefficients k1, k2, k3, p1, p2 of the Brown-Conrady model as OpenCV defines it: what the
    pinhole sees at (x, y) stands in the picture at the distorted place, and is fetched from there.
    """
    from scipy import ndimage

    k1, k2, k3, p1, p2 = coefficients
    height, width = rgba.shape[:2]
    rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    fx, fy, cx, cy = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    x, y = (columns - cx) / fx, (rows - cy) / fy
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    places = np.stack((v * fy + cy - 0.5, u * fx + cx - 0.5))
    alpha = rgba[..., 3:] / 255.0
    parts = np.concatenate((rgba[..., :3] * alpha, rgba[..., 3:]), -1)
    moved = [ndimage.map_coordinates(parts[..., i], places, order=1) for i in range(4)]
    out = np.stack(moved, -1)
    out[..., :3] /= np.maximum(out[..., 3:], 1e-3) / 255.0
    pixels = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    if depth is not None:
        depth = ndimage.map_coordinates(depth, places, order=0)
    return pixels, depth
