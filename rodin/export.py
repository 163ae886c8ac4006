"""What people use: turntable films, and meshes with vertex colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rodin import cameras, triplane
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.render import render_image

# Skin and hair are opaque within a few hundredths of a box unit: this density is inside.
_SURFACE_SIGMA = 20.0


class ExportError(ValueError):
    """A film or mesh that cannot be written; the message names the value and the fix."""


def frames(
    planes: Tensor,
    decoder: TriplaneDecoder,
    *,
    count: int = 24,
    size: int = 128,
    elevation_degrees: float = 5.0,
    samples: int = 96,
    background: float = 1.0,
) -> np.ndarray:
    """A full turn about planes (3, C, H, W): uint8 (count, size, size, 3), the first frontal."""
    intrinsics = cameras.intrinsics_from_fov(size, size)
    grid = occupancies.from_density(planes[None], decoder)[0]
    images = [
        render_image(
            planes,
            decoder,
            matrix,
            intrinsics,
            size,
            size,
            samples=samples,
            background=background,
            occupancy=grid,
        ).rgb
        for matrix in cameras.turntable(count, elevation_degrees)
    ]
    return (torch.stack(images).clamp(0, 1) * 255).round().byte().cpu().numpy()


def turntable(
    planes: Tensor,
    decoder: TriplaneDecoder,
    path: Path | str,
    *,
    count: int = 24,
    size: int = 128,
    seconds: float = 2.4,
    elevation_degrees: float = 5.0,
    samples: int = 96,
) -> Path:
    """Write a looping turn about planes (3, C, H, W) as .webp, .gif or .mp4.

    Raises ExportError for another suffix, or for .mp4 where imageio has no ffmpeg.
    """
    path = Path(path)
    if path.suffix not in (".webp", ".gif", ".mp4"):
        raise ExportError(f"{path.name} is no film; name it .webp, .gif or .mp4")
    film = frames(
        planes,
        decoder,
        count=count,
        size=size,
        elevation_degrees=elevation_degrees,
        samples=samples,
    )
    if path.suffix == ".mp4":
        _write_mp4(path, film, count / seconds)
        return path
    from PIL import Image

    images = [Image.fromarray(frame) for frame in film]
    options: dict[str, Any] = {"quality": 90} if path.suffix == ".webp" else {}
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * seconds / count),
        loop=0,
        **options,
    )
    return path


def _write_mp4(path: Path, film: np.ndarray, rate: float) -> None:
    try:
        import imageio.v2 as imageio

        imageio.mimwrite(path, list(film), fps=rate)
    except (ImportError, ValueError) as error:
        raise ExportError(
            f"cannot write {path.name} ({str(error).splitlines()[0]}); install imageio[ffmpeg] or"
            " write .webp"
        ) from error


@torch.no_grad()
def mesh(
    planes: Tensor,
    decoder: TriplaneDecoder,
    path: Path | str,
    *,
    size: int = 128,
    sigma: float = _SURFACE_SIGMA,
) -> Path:
    """Write the surface of planes (3, C, H, W) as a .glb with vertex colours, in metres, y up.

    Marching cubes on a `size`^3 grid of the density at level `sigma` (per box unit); parts smaller
    than a hundredth of the whole are dropped. Raises ExportError when nothing is that dense.
    """
    import trimesh
    from skimage import measure

    from rodin.conventions import BOX_HALF_SIZE_M

    path = Path(path)
    if path.suffix != ".glb":
        raise ExportError(f"{path.name} is no mesh file; name it .glb")
    centres = occupancies.voxel_centres(size)
    density = torch.cat(
        [
            decoder.sigma(triplane.sample(planes[None], part[None])[0])
            for part in centres.split(2**16)
        ]
    )
    volume = density.view(size, size, size).cpu().numpy()
    labels, count = measure.label(volume >= sigma, return_num=True)
    if count == 0:
        raise ExportError(
            f"no voxel reaches density {sigma} (largest: {volume.max():.3g}); pass a lower sigma"
        )
    voxels = np.bincount(labels.ravel())
    voxels[0] = 0
    small = voxels < 0.01 * voxels.sum()
    small[0] = False
    volume[small[labels]] = 0
    # A border of empty voxels closes the surface where it leaves the box.
    volume = np.pad(volume, 1)
    vertices, faces, normals, _ = measure.marching_cubes(volume, sigma, gradient_direction="ascent")
    points = torch.as_tensor(-1 + (2 * (vertices - 1) + 1) / size).float()
    normal = torch.as_tensor(normals.copy()).float()
    inner = (points - 0.5 / size * normal).clamp(-1, 1)
    colour, _ = decoder(triplane.sample(planes[None], inner[None])[0], -normal)
    rgba = np.full((len(points), 4), 255, np.uint8)
    rgba[:, :3] = (colour.clamp(0, 1) * 255).round().byte().cpu().numpy()
    shape = trimesh.Trimesh(
        points.numpy() * BOX_HALF_SIZE_M, faces, vertex_colors=rgba, process=False
    )
    data = shape.export(file_type="glb")
    assert isinstance(data, bytes)
    path.write_bytes(data)
    return path
