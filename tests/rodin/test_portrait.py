"""Portraits of other people: cut out, squared, or refused with the reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rodin.portrait import PortraitError, prepare_portrait

WALL = np.array([190, 200, 210])


def person(height: int = 96, width: int = 64, noise: int = 4) -> np.ndarray:
    """RGB uint8: a dark head and shoulders before a light wall, a button of its colour."""
    random = np.random.default_rng(0)
    image = WALL + random.integers(-noise, noise + 1, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - 0.45 * height, x - 0.5 * width) < 0.28 * width
    inside |= (y > 0.7 * height) & (abs(x - 0.5 * width) < 0.35 * width)
    image[inside] = (120, 70, 50)
    image[int(0.85 * height), width // 2] = WALL
    return image.clip(0, 255).astype(np.uint8)


def test_a_plain_background_is_taken_out() -> None:
    found = prepare_portrait(person())
    assert found.shape == (4, 96, 96)
    alpha = found[3].numpy()
    assert set(np.unique(alpha)) == {0, 1}
    truth = np.abs(person(noise=0).astype(int) - WALL).sum(-1) > 9
    truth[int(0.85 * 96), 32] = True  # enclosed: it is no background
    assert np.array_equal(alpha[:, 16:80] > 0, truth)


def test_an_alpha_channel_is_believed() -> None:
    rgba = np.dstack([person(), np.zeros((96, 64), np.uint8)])
    rgba[30:, 20:50, 3] = 255
    found = prepare_portrait(rgba)[3]
    assert found.sum() == 66 * 30 and found[30:, 36:66].all()


def test_wide_images_become_square_with_shoulders_at_the_lower_edge() -> None:
    wide = np.zeros((40, 80, 4), np.uint8)
    wide[10:, 30:50] = 255
    found = prepare_portrait(wide)
    assert found.shape == (4, 80, 80)
    assert found[3, 50:, 30:50].all() and not found[3, :50].any()


def test_files_bytes_and_turned_cameras(tmp_path: Path) -> None:
    image = Image.fromarray(person())
    image.save(tmp_path / "x.png")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    expected = prepare_portrait(person())
    for given in (tmp_path / "x.png", str(tmp_path / "x.png"), stream.getvalue(), image,
                  tmp_path / "turned.png"):  # fmt: skip
        assert (prepare_portrait(given) == expected).all()


def test_large_images_are_brought_down() -> None:
    assert prepare_portrait(person(1500, 1000)).shape == (4, 512, 512)


def noisy() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (noisy(), "the background is not plain: .* of the border has one colour, 90% are needed"),
        (np.full((64, 64, 3), 200, np.uint8), "0% of the portrait is person"),
        (np.zeros((64, 64, 4), np.uint8), "0% of the portrait is person"),
        (person().astype(np.float32), "float32"),
        (person()[..., 0], "pass uint8"),
        (person(20, 20), "has 20x20 px; use 32 to 8192"),
        (b"not an image", "is no image"),
        ("/nowhere/x.png", "no such file"),
    ],
)
def test_what_cannot_be_used_says_why(given: Any, said: str) -> None:
    with pytest.raises(PortraitError, match=said):
        prepare_portrait(given)


def test_a_damaged_file(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(person()).save(stream, "PNG")
    with pytest.raises(PortraitError, match="damaged"):
        prepare_portrait(stream.getvalue()[:400])
