"""Pictures by marching against whole rays (`render.render`), and that marching does less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rodin import cameras, march, render, triplane
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from tests.rodin.test_render import small_scene

SAMPLES = 40
HALF, WIDE = 1 / 510, 24.0  # half a step of 8 bits; degrees


def whole_rays(
    planes: Tensor, decoder: TriplaneDecoder, camera: Tensor, lens: Tensor, grid: Tensor,
    size: tuple[int, int], background: float,
) -> render.RenderOutput:  # fmt: skip
    origins, directions = cameras.rays(camera, lens, *size)
    return render.render(
        planes, decoder, origins.view(1, -1, 3), directions.view(1, -1, 3),
        samples=SAMPLES, occupancy=grid[None], background=background,
    )  # fmt: skip


def grid_of(kind: str) -> Tensor:
    """Occupied voxels that say nothing of the density: all, none, or some of them."""
    some = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(2)) < 0.02
    some[0, 0, 0] = some[15, 15, 15] = True  # corners: what leaves the picture
    return {"all": some | True, "none": some & False, "some": some}[kind]


@pytest.mark.parametrize("kind", ["all", "some", "none"])
@pytest.mark.parametrize(
    ("azimuth", "elevation", "radius", "fov"),
    [
        (20.0, 15.0, 4.8, WIDE),
        (140.0, -50.0, 2.2, 70.0),  # close and wide: footprints grow towards the edge
        (30.0, 10.0, 1.2, WIDE),  # among the voxels at the corners
        (0.0, 0.0, 0.4, WIDE),  # inside the box
    ],
)
def test_marching_shows_what_whole_rays_show(
    kind: str, azimuth: float, elevation: float, radius: float, fov: float
) -> None:
    planes, decoder, _, _ = small_scene(4, direction_frequencies=1)
    camera = cameras.orbit(azimuth, elevation, radius)
    lens, grid, size = cameras.intrinsics_from_fov(52, 44, fov), grid_of(kind), (44, 52)
    whole = whole_rays(planes, decoder, camera, lens, grid, size, 0.25)
    fast = render.render_image(
        planes[0], decoder, camera, lens, *size,
        samples=SAMPLES, occupancy=grid, background=0.25, chunk=700,
    )  # fmt: skip
    assert (fast.rgb.view(-1, 3) - whole.rgb[0]).abs().max() < HALF
    assert (fast.alpha.view(-1) - whole.alpha[0]).abs().max() < HALF
    if kind == "none":
        assert (fast.rgb == 0.25).all() and not fast.depth.any()
    else:
        assert whole.alpha.max() > 0.3
    _, directions = cameras.rays(camera, lens, *size)
    along = whole.depth.view(size) * (directions @ camera[:3, 2])
    sure = (whole.alpha.view(size) - 0.5).abs() > HALF
    shown = along.where(whole.alpha.view(size) >= 0.5, 0)
    assert (fast.depth - shown)[sure].abs().max() < 0.02


def test_the_stretch_holds_every_occupied_sample_and_little_more() -> None:
    grid = grid_of("some")
    camera, lens = cameras.orbit(60.0, 30.0, 3.0), cameras.intrinsics_from_fov(64, 64, 40.0)
    near, far = march.stretch(grid, camera, lens, 64, 64)
    origins, directions = cameras.rays(camera, lens, 64, 64)
    way = torch.linspace(1.0, 5.0, 200)
    points = origins[..., None, :] + way[:, None] * directions[..., None, :]
    hit = occupancies.lookup(grid[None], points.view(1, -1, 3)).view(64, 64, 200)
    depth = way * (directions @ camera[:3, 2])[..., None]
    inside = (depth >= near[..., None]) & (depth <= far[..., None])
    assert hit.any() and not (hit & ~inside).any()
    one = torch.zeros(16, 16, 16, dtype=torch.bool)
    one[8, 8, 8] = True
    near, far = march.stretch(one, camera, lens, 64, 64)
    met = near < far
    assert 0 < met.float().mean() < 0.1 and (far - near)[met].max() < 0.3


def test_hidden_and_empty_samples_are_not_decoded() -> None:
    planes, decoder, _, _ = small_scene(4)
    dense = 20 * planes
    grid = occupancies.from_density(dense, decoder, size=16)
    camera, lens = cameras.orbit(20.0, 15.0), cameras.intrinsics_from_fov(48, 48)
    counts = []
    decoder.register_forward_pre_hook(lambda _, args: counts.append(len(args[0])))
    with torch.no_grad():
        whole_rays(dense, decoder, camera, lens, grid, (48, 48), 1.0)
    whole = sum(counts)
    counts.clear()
    render.render_image(dense[0], decoder, camera, lens, 48, 48, samples=SAMPLES, occupancy=grid)
    assert 0 < sum(counts) < 0.5 * whole


def test_reading_one_triplane_often_is_sampling_it() -> None:
    planes, _, _, _ = small_scene(1)
    points = 2.4 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 1.2
    assert torch.equal(triplane.reader(planes[0])(points), triplane.sample(planes, points[None])[0])


def test_no_samples_are_refused() -> None:
    planes, decoder, _, _ = small_scene(1)
    lens = cameras.intrinsics_from_fov(4, 4)
    with pytest.raises(ValueError, match="samples is 0"):
        render.render_image(planes[0], decoder, cameras.orbit(0.0, 0.0), lens, 4, 4, samples=0)
