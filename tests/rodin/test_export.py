"""Films and meshes of a decoder whose density is a known ball."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from rodin import cameras, export
from rodin.conventions import BOX_HALF_SIZE_M, DEFAULT_RADIUS, WHOLE_RADIUS, texel_centres
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.glb import encode_glb, linear
from rodin.surface import Surface, SurfaceError, extract

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


@pytest.mark.parametrize("name", ["ball.glb", "ball.ply"])
def test_mesh_is_the_ball_in_metres(tmp_path: Path, name: str) -> None:
    path = export.mesh(*ball(), tmp_path / name, size=48)
    # trimesh shows the colours of a glTF mesh without its material only
    more = {"skip_materials": True} if name.endswith("glb") else {}
    shape = trimesh.load(path, force="mesh", process=False, **more)
    radius = np.linalg.norm(shape.vertices, axis=1) / BOX_HALF_SIZE_M
    assert np.abs(radius - RADIUS).max() < 0.03
    assert shape.is_watertight and shape.volume > 0 and shape.body_count == 1
    assert shape.visual.vertex_colors[:, :3].mean(0) == pytest.approx([254, 1, 1], abs=2)
    outwards = (shape.vertices * shape.vertex_normals).sum(1) / np.linalg.norm(
        shape.vertices, axis=1
    )
    assert outwards.min() > 0.97  # smooth: not the faces' own normals


def test_glb_colours_are_linear_and_fine() -> None:
    """glTF 2.0 wants linear light; the darkest sRGB steps must stay apart."""
    srgb = np.repeat(np.arange(6)[:, None] / 255, 3, 1)
    surface = Surface(np.zeros((6, 3)), np.zeros((6, 3)), srgb, np.zeros((2, 3), int))
    data = encode_glb(surface, 1.0)
    length = int.from_bytes(data[12:16], "little")
    tree = json.loads(data[20 : 20 + length])
    view = tree["bufferViews"][tree["accessors"][2]["bufferView"]]
    blob = data[28 + length + view["byteOffset"] :][: view["byteLength"]]
    colours = np.frombuffer(blob, np.float32).reshape(6, 3)
    assert len(set(colours[:, 0].tolist())) == 6
    assert colours[5, 0] == pytest.approx(5 / 255 / 12.92, abs=1e-5)
    assert linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-4)
    assert len(data) % 4 == 0 and int.from_bytes(data[8:12], "little") == len(data)


def test_hollows_are_filled_and_specks_dropped() -> None:
    """A hollow ball that the box cuts open, and a speck: one closed body without an inside."""
    planes, decoder = ball()
    size = 48

    class Shell(TriplaneDecoder):
        def sigma(self, features: torch.Tensor) -> torch.Tensor:
            level = features[..., 0]  # RADIUS^2 - r^2
            return 400.0 * ((level > 0) & (level < 0.15)).float()

    shell = Shell(decoder.config)
    found = extract(planes, shell, size=size)
    shape = trimesh.Trimesh(found.points, found.faces, process=False)
    assert shape.is_watertight and shape.body_count == 1
    assert shape.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.06)
    # Moved up by 0.9, so that the box cuts it open.
    planes[0, 0] += 1.8 * torch.as_tensor(texel_centres(64)).float()[:, None] - 0.81
    cut = extract(planes, shell, size=size)
    assert trimesh.Trimesh(cut.points, cut.faces, process=False).body_count == 1
    planes[0, 0, 4:8, 30:34] = 0.1  # a speck in its lower half
    with_bar = extract(planes, shell, size=size, keep=0.0)
    without = extract(planes, shell, size=size, keep=0.5)
    assert len(with_bar.points) > len(without.points)


def test_no_shoulder_leaves_a_film() -> None:
    """Their corners are 1.1 box units from the axis in the package's avatars; portraits are taken
    from nearer."""
    bust = torch.tensor([[0.8, -0.8, -0.755], [-0.8, -0.8, -0.755]])
    lens = cameras.intrinsics_from_fov(256, 256)
    inside = {}
    for radius in (WHOLE_RADIUS, DEFAULT_RADIUS):
        seen = [cameras.project(bust, m, lens)[0] for m in cameras.turntable(36, 5.0, radius)]
        across = torch.stack(seen)[..., 0]
        inside[radius] = bool(((across > 0) & (across < 256)).all())
    assert inside == {WHOLE_RADIUS: True, DEFAULT_RADIUS: False}
    planes, decoder = ball()
    film = export.frames(planes, decoder, count=1, size=32, elevation_degrees=0.0, samples=32)
    camera = cameras.orbit(0.0, 0.0, WHOLE_RADIUS)
    lens = cameras.intrinsics_from_fov(32, 32)
    slow = export.view(planes, decoder, camera, lens, 32, 32, samples=32)
    assert np.abs(film[0] / 255 - slow.numpy()).max() < 0.01


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
    with pytest.raises(SurfaceError, match="pass a lower sigma"):
        export.mesh(planes, decoder, tmp_path / "ball.glb", size=16, sigma=1e6)
