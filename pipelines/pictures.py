"""Contact sheets: many small pictures in one, with a line of text under each."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Picture = np.ndarray  # (H, W, 3 or 4) uint8 or float in [0, 1]


def to_image(picture: Picture) -> Image.Image:
    """Composites straight alpha over white."""
    pixels = picture
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    image = Image.fromarray(pixels)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def grid(
    rows: Sequence[Sequence[Picture]],
    labels: Sequence[str] = (),
    *,
    tile: int = 0,
) -> Image.Image:
    """Rows of pictures; `labels`, when given, names each row beneath it.

    `tile` is the side of a picture in px, 0 for the size of the first one.
    """
    if not rows or not rows[0]:
        raise ValueError("a contact sheet needs at least one picture")
    side = tile or to_image(rows[0][0]).width
    columns = max(len(row) for row in rows)
    text = 16 if labels else 0
    sheet = Image.new("RGB", (columns * side, len(rows) * (side + text)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            image = to_image(picture)
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(image, (x * side, y * (side + text)))
        if labels:
            pen.text((4, y * (side + text) + side + 1), labels[y], fill="#333333", font=font)
    return sheet


def tiles(pictures: Sequence[Picture], columns: int, *, tile: int = 0) -> Image.Image:
    """Pictures laid out row by row."""
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    return grid(rows, tile=tile)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def from_png(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
