"""Other people's portraits made ready for the encoder: cut out, square, of bounded size.

A portrait is RGBA with a transparent background, or an image before a plain one, which is taken
out. Nothing is guessed about other backgrounds: the error says what is needed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MIN_SIDE, MAX_SIDE = 32, 8192  # px
MAX_BYTES = 32 << 20  # of a file
KEPT_SIDE = 512  # px that the longer side is brought down to
_ALIKE = 0.08  # largest distance of a background pixel to the background's colour, sRGB in [0, 1]
_PLAIN = 0.9  # share of the border, but for the lower edge, that must be background


class PortraitError(ValueError):
    """A portrait that cannot be used; says what is needed."""


def prepare_portrait(image: Any) -> Tensor:
    """Path, bytes, PIL image or array (H, W, 3 or 4) uint8 -> RGBA (4, S, S) float32 in [0, 1].

    PortraitError: no image, too small or large, nobody in it, a background that is not plain.
    """
    rgba = _opened(image)
    height, width = rgba.shape[:2]
    if rgba[..., 3].min() == 255:
        rgba = _cut_out(rgba)
    covered = (rgba[..., 3] > 127).mean()
    if not 0.02 <= covered <= 0.98:
        raise PortraitError(
            f"{covered:.0%} of the portrait is person; use head and shoulders that fill 2 to 98 %"
        )
    # Shoulders touch the lower edge: the square grows upwards and to the sides.
    side = max(height, width)
    square = np.zeros((side, side, 4), np.uint8)
    left = (side - width) // 2
    square[side - height :, left : left + width] = rgba
    return torch.from_numpy(square).permute(2, 0, 1).float() / 255


def _opened(image: Any) -> np.ndarray:
    """(H, W, 4) uint8, upright, its longer side at most KEPT_SIDE."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
            raise PortraitError(
                f"the portrait is {image.dtype} {image.shape}; pass uint8 (H, W, 3) or (H, W, 4)"
            )
        image = Image.fromarray(image)
    elif isinstance(image, (str, Path, bytes)):
        size = len(image) if isinstance(image, bytes) else _size_of(Path(image))
        if size > MAX_BYTES:
            raise PortraitError(f"the portrait has {size >> 20} MiB; use at most 32")
        try:
            image = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        except (UnidentifiedImageError, OSError):
            raise PortraitError("the portrait is no image; use PNG, JPEG or WebP") from None
    if min(image.size) < MIN_SIDE or max(image.size) > MAX_SIDE:
        width, height = image.size
        raise PortraitError(
            f"the portrait has {width}x{height} px; use {MIN_SIDE} to {MAX_SIDE} a side"
        )
    try:
        image = ImageOps.exif_transpose(image).convert("RGBA")
    except OSError:
        raise PortraitError("the portrait is damaged; save it again") from None
    image.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return np.array(image)


def _size_of(path: Path) -> int:
    if not path.is_file():
        raise PortraitError(f"{path}: no such file")
    return path.stat().st_size


def _cut_out(rgba: np.ndarray) -> np.ndarray:
    """Takes out a plain background: all pixels of its colour that hang together with the border."""
    from scipy import ndimage

    colour = rgba[..., :3].astype(np.float32) / 255
    border = np.concatenate([colour[0], colour[:, 0], colour[:, -1]])
    ground = np.median(border, axis=0)
    alike = np.linalg.norm(colour - ground, axis=-1) < _ALIKE
    upper = alike[: max(1, 2 * len(alike) // 3)]
    edge = np.concatenate([alike[0], upper[:, 0], upper[:, -1]])
    if edge.mean() < _PLAIN:
        raise PortraitError(
            f"the background is not plain: {edge.mean():.0%} of the border has one colour, "
            f"{_PLAIN:.0%} are needed; cut the person out (RGBA PNG), or use a plain wall"
        )
    pieces, _ = ndimage.label(alike)
    outer = np.unique(np.concatenate([pieces[0], pieces[:, 0], pieces[:, -1]]))
    gone = np.isin(pieces, outer[outer > 0])
    out = rgba.copy()
    out[..., 3] = np.where(gone, 0, 255)
    return out
