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
    across: int = 1,
) -> Image.Image:
    """Rows of pictures; `labels`, when given, names each row beneath it, cut to its width.

    `tile` is the side of a picture in px, 0 for the size of the first one; `across` rows stand side
    by side. Raises ValueError without a picture.
    """
    if not rows or not rows[0]:
        raise ValueError("a contact sheet needs at least one picture")
    side = tile or to_image(rows[0][0]).width
    text = 16 if labels else 0
    wide, high = max(len(row) for row in rows) * side, side + text
    lines = -(-len(rows) // across)
    sheet = Image.new("RGB", (min(across, len(rows)) * wide, lines * high), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for k, row in enumerate(rows):
        left, top = k % across * wide, k // across * high
        for x, picture in enumerate(row):
            image = to_image(picture)
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(image, (left + x * side, top))
        if labels:
            label = labels[k]
            while label and pen.textlength(label, font=font) > wide - 8:
                label = label[:-1]
            pen.text((left + 4, top + side + 1), label, fill="#333333", font=font)
    return sheet


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def from_png(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
