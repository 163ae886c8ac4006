"""Films and meshes of a decoder whose density is a known ball."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from rodin import export
from rodin.conventions import BOX_HALF_SIZE_M, texel_centres
from rodin.decoder import DecoderConfig, TriplaneDecoder

RADIUS = 0.6


def ball() -> tuple[torch.Tensor, TriplaneDecoder]:
    """A red ball: the planes sum to radius^2 - x^2 - y^2 - z^2, the decoder makes it a density."""
    square = torch.as_tensor(texel_centres(64)).float() ** 2
    planes = torch.zeros(3, 1, 64, 64)
    planes[0, 0] = RADIUS**2 - square[:, None] - square[None, :]  # y, x
    planes[1, 0] = -square[:, None].expand(64, 64)  # z
    decoder = TriplaneDecoder(DecoderConfig(channels=1, hidden=2, layers=1, frequencies=0))
    with torch.no_grad():
        decoder.hidden[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))  # type: ignore[union-attr]
        decoder.density.weight.copy_(torch.tensor([[100.0, -100.0]]))
        decoder.density.bias.fill_(4.5)
        decoder.colour.weight.zero_()
        decoder.colour.bias.copy_(torch.tensor([6.0, -6.0, -6.0]))
    return planes, decoder


def test_mesh_is_the_ball_in_metres(tmp_path: Path) -> None:
    path = export.mesh(*ball(), tmp_path / "ball.glb", size=48)
    shape = trimesh.load(path, force="mesh")
    radius = np.linalg.norm(shape.vertices, axis=1) / BOX_HALF_SIZE_M
    assert np.abs(radius - RADIUS).max() < 0.03
    assert shape.is_watertight and shape.volume > 0
    assert shape.visual.vertex_colors[:, :3].mean(0) == pytest.approx([254, 1, 1], abs=2)


def test_turntable_films(tmp_path: Path) -> None:
    planes, decoder = ball()
    for suffix in (".webp", ".gif"):
        path = export.turntable(
            planes, decoder, tmp_path / f"turn{suffix}", count=3, size=24, samples=24
        )
        with Image.open(path) as film:
            assert film.size == (24, 24)
            red, green, _ = film.convert("RGB").getpixel((12, 12))
            assert red > 200 and green < 60
    film = export.frames(planes, decoder, count=3, size=24, samples=24)
    assert film.shape == (3, 24, 24, 3) and film[0, 0, 0].tolist() == [255, 255, 255]


def test_refusals(tmp_path: Path) -> None:
    planes, decoder = ball()
    with pytest.raises(export.ExportError, match=r"name it \.webp"):
        export.turntable(planes, decoder, tmp_path / "turn.avi")
    with pytest.raises(export.ExportError, match=r"name it \.glb"):
        export.mesh(planes, decoder, tmp_path / "ball.obj")
    with pytest.raises(export.ExportError, match="pass a lower sigma"):
        export.mesh(planes, decoder, tmp_path / "ball.glb", size=16, sigma=1e6)
