"""The renderer against a loop over rays and samples; occupancy; the decoder file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rodin import cameras, render, triplane
from rodin import occupancy as occupancies
from rodin.decoder import DecoderConfig, DecoderError, TriplaneDecoder


def small_scene(
    seed: int = 0, batch: int = 1, **config: int
) -> tuple[Tensor, TriplaneDecoder, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(batch, 3, 4, 8, 8, generator=generator)
    decoder = TriplaneDecoder(
        DecoderConfig(channels=4, hidden=8, density_bias=-1.0, density_scale=5.0, **config),
        generator,
    )
    camera = cameras.orbit(torch.arange(batch) * 50.0 + 20, 15.0)
    intrinsics = cameras.intrinsics_from_fov(7, 6, 30.0).expand(batch, 3, 3)
    origins, directions = cameras.rays(camera, intrinsics, 6, 7)
    return planes, decoder, origins.flatten(1, 2), directions.flatten(1, 2)


def render_naive(
    planes: Tensor,
    decoder: TriplaneDecoder,
    origin: Tensor,
    direction: Tensor,
    samples: int,
    grid: Tensor | None,
    background: float,
) -> tuple[Tensor, float, float]:
    """One ray, one sample at a time."""
    spans = [
        sorted(((-1 - o) / d, (1 - o) / d))
        for o, d in zip(origin.tolist(), direction.tolist(), strict=True)
    ]
    near, far = max(a for a, _ in spans), min(b for _, b in spans)
    colour, passed, alpha, depth = torch.zeros(3), 1.0, 0.0, 0.0
    if far > near:
        step = (far - near) / samples
        for i in range(samples):
            t = near + (i + 0.5) * step
            point = origin + t * direction
            if grid is not None:
                size = grid.shape[-1]
                x, y, z = (min(size - 1, int((v + 1) / 2 * size)) for v in point.tolist())
                if not grid[x, y, z]:
                    continue
            rgb, sigma = decoder(
                triplane.sample(planes[None], point.view(1, 1, 3))[0], direction[None]
            )
            weight = passed * (1 - math.exp(-sigma.item() * step))
            colour, alpha, depth = colour + weight * rgb[0], alpha + weight, depth + weight * t
            passed -= weight
    return colour + background * (1 - alpha), alpha, depth / max(alpha, 1e-6)


@pytest.mark.parametrize("with_grid", [False, True])
def test_render_equals_the_loop(with_grid: bool) -> None:
    planes, decoder, origins, directions = small_scene(batch=2, direction_frequencies=1)
    generator = torch.Generator().manual_seed(5)
    grid = torch.rand(2, 7, 7, 7, generator=generator) > 0.5 if with_grid else None
    out = render.render(
        planes, decoder, origins, directions, samples=9, occupancy=grid, background=0.7
    )
    with torch.no_grad():
        for item in range(2):
            for ray in range(0, origins.shape[1], 5):
                rgb, alpha, depth = render_naive(
                    planes[item],
                    decoder,
                    origins[item, ray],
                    directions[item, ray],
                    9,
                    None if grid is None else grid[item],
                    0.7,
                )
                torch.testing.assert_close(out.rgb[item, ray], rgb, atol=1e-5, rtol=1e-4)
                assert out.alpha[item, ray].item() == pytest.approx(alpha, abs=1e-5)
                assert out.depth[item, ray].item() == pytest.approx(depth, abs=1e-3)


def test_weights_sum_to_at_most_one_even_for_huge_densities() -> None:
    planes, decoder, origins, directions = small_scene()
    out = render.render(100 * planes, decoder, origins, directions, samples=40)
    assert out.alpha.max() <= 1 and out.alpha.min() >= 0
    assert out.rgb.max() <= 1 + 1e-6 and out.rgb.min() >= 0
    assert torch.isfinite(out.depth).all()


def test_rays_that_miss_show_the_background() -> None:
    planes, decoder, origins, directions = small_scene()
    out = render.render(planes, decoder, origins, -directions, samples=8, background=0.25)
    assert out.alpha.abs().max() == 0 and (out.rgb == 0.25).all() and out.depth.abs().max() == 0


def test_stratified_samples_come_from_the_generator_alone() -> None:
    scene = small_scene()

    def once(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return render.render(*scene, samples=6, generator=generator).rgb

    assert torch.equal(once(0), once(0)) and not torch.equal(once(0), once(1))


def test_gradients_reach_planes_and_decoder() -> None:
    planes, decoder, origins, directions = small_scene()
    planes = planes.double().requires_grad_()
    decoder, origins, directions = decoder.double(), origins.double(), directions.double()

    def value(p: Tensor) -> Tensor:
        out = render.render(p, decoder, origins, directions, samples=5)
        return (out.rgb.square().sum() + out.alpha.sum() + 0.1 * out.depth.sum()).double()

    value(planes).backward()
    assert planes.grad is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())
    index = planes.grad.abs().flatten().argmax()
    step = torch.zeros_like(planes).view(-1)
    step[index] = 1e-5
    with torch.no_grad():
        difference = value(planes + step.view_as(planes)) - value(planes - step.view_as(planes))
    assert planes.grad.flatten()[index].item() == pytest.approx(difference.item() / 2e-5, rel=1e-4)


def test_render_image_chunks_do_not_matter_and_depth_is_along_z() -> None:
    planes, decoder, _, _ = small_scene()
    camera, intrinsics = cameras.orbit(10.0, 5.0), cameras.intrinsics_from_fov(16, 16)
    one = render.render_image(planes[0], decoder, camera, intrinsics, 16, 16, samples=24)
    many = render.render_image(planes[0], decoder, camera, intrinsics, 16, 16, samples=24, chunk=50)
    torch.testing.assert_close(one.rgb, many.rgb, atol=1e-6, rtol=0)
    assert one.rgb.shape == (16, 16, 3) and one.alpha.shape == one.depth.shape == (16, 16)
    seen = one.depth > 0
    assert seen.any() and one.depth[seen].min() > 3.0 and one.depth.max() < 6.6
    assert (one.alpha[~seen] < 0.5).all()


def test_density_occupancy_changes_almost_nothing() -> None:
    planes, decoder, origins, directions = small_scene(3)
    grid = occupancies.from_density(planes, decoder, size=32)
    full = render.render(planes, decoder, origins, directions, samples=64)
    fast = render.render(planes, decoder, origins, directions, samples=64, occupancy=grid)
    assert (full.rgb - fast.rgb).abs().max() < 0.03
    everything = occupancies.from_density(planes, decoder, size=8, threshold=1e9)
    assert not everything.any()  # the threshold is used


def test_specks_in_the_air_are_no_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept: the largest dense part, and what is thin close to it."""
    planes, decoder, _, _ = small_scene(1)
    whole = occupancies.from_density(planes, decoder, 16)[0]
    everything = occupancies.of_body(planes[0], decoder, 16, solid=1e9)
    assert torch.equal(everything, whole), "nothing is so dense"
    density = torch.zeros(16, 16, 16)
    density[4:9, 4:9, 4:9] = 50.0
    density[9:11, 6, 6] = 1.0  # a strand of hair
    density[13, 13, 13] = 50.0  # a speck
    monkeypatch.setattr(occupancies, "_density", lambda *_: density)
    found = occupancies.of_body(planes[0], decoder, 16)
    assert found[3:10, 3:10, 3:10].all() and found[10, 6, 6]
    assert not found[12:, 12:, 12:].any()
    assert occupancies.from_density(planes, decoder, 16)[0][13, 13, 13]


def test_bad_arguments_are_named() -> None:
    planes, decoder, origins, directions = small_scene()
    with pytest.raises(ValueError, match=r"pass origins and directions \(B, N, 3\)"):
        render.render(planes, decoder, origins[0], directions[0], samples=4)
    with pytest.raises(ValueError, match="samples is 0"):
        render.render(planes, decoder, origins, directions, samples=0)
    with pytest.raises(DecoderError, match="6 channels and the decoder takes 4"):
        render.render(torch.zeros(1, 3, 6, 8, 8), decoder, origins, directions, samples=4)


def test_occupancy_lookup_and_dilate() -> None:
    grid = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    grid[0, 3, 0, 1] = True
    points = torch.tensor([[[0.9, -0.9, -0.3], [0.9, -0.9, 0.3], [1.1, -0.9, -0.3], [1, -1, -0.5]]])
    assert occupancies.lookup(grid, points).tolist() == [[True, False, False, False]] or (
        occupancies.lookup(grid, points)[0, :3].tolist() == [True, False, False]
    )
    grown = occupancies.dilate(grid[0])
    naive = torch.zeros(4, 4, 4, dtype=torch.bool)
    naive[2:4, 0:2, 0:3] = True
    assert torch.equal(grown, naive)
    assert torch.equal(occupancies.dilate(grid, 0), grid)
    centres = occupancies.voxel_centres(4).view(4, 4, 4, 3)
    torch.testing.assert_close(centres[3, 0, 1], torch.tensor([0.75, -0.75, -0.25]))


def test_decoder_file_round_trip(tmp_path: Path) -> None:
    _, decoder, _, _ = small_scene(1, direction_frequencies=2)
    decoder.start = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    decoder.save(tmp_path / "decoder.safetensors")
    loaded = TriplaneDecoder.load(tmp_path / "decoder.safetensors")
    assert loaded.config == decoder.config and loaded.digest() == decoder.digest()
    assert torch.equal(loaded.start, decoder.start)
    with torch.no_grad():
        loaded.colour.bias[0] += 1e-6
    assert loaded.digest() != decoder.digest()


def test_decoder_refusals(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x01\x02")
    with pytest.raises(DecoderError, match="is no decoder file"):
        TriplaneDecoder.load(broken)
    with pytest.raises(DecoderError, match="is no decoder file"):
        TriplaneDecoder.load(tmp_path / "missing.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(broken))
    with pytest.raises(DecoderError, match="holds no decoder config"):
        TriplaneDecoder.load(broken)
    save_file({"a": torch.zeros(1)}, str(broken), metadata={"decoder": '{"channels": 4}'})
    with pytest.raises(DecoderError, match="fit it again"):
        TriplaneDecoder.load(broken)
    with pytest.raises(DecoderError, match="hidden is 0"):
        DecoderConfig(hidden=0)
    with pytest.raises(DecoderError, match="pass directions"):
        TriplaneDecoder(DecoderConfig(direction_frequencies=1))(torch.zeros(2, 16))


def test_zero_planes_are_empty_and_seeds_differ() -> None:
    decoder = TriplaneDecoder()
    assert decoder.sigma(torch.zeros(1, 16)).item() < 3
    other = TriplaneDecoder(generator=torch.Generator().manual_seed(1))
    assert decoder.digest() == TriplaneDecoder().digest()
    assert decoder.digest() != other.digest()
