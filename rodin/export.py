"""What people use: turntable films, and meshes with vertex colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rodin import cameras
from rodin import occupancy as occupancies
from rodin.conventions import BOX_HALF_SIZE_M, WHOLE_RADIUS
from rodin.decoder import TriplaneDecoder
from rodin.glb import encode_glb
from rodin.refiner import RefinerSystem, render_refined
from rodin.render import render_image
from rodin.surface import SURFACE_SIGMA, extract


class ExportError(ValueError):
    """A film or mesh that cannot be written; the message names the value and the fix."""


def view(
    planes: Tensor,
    decoder: TriplaneDecoder,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    *,
    samples: int = 96,
    background: float = 1.0,
    occupancy: Tensor | None = None,
    refiner: RefinerSystem | None = None,
) -> Tensor:
    """Planes (3, C, R, R) by one camera: (H, W, 3) in [0, 1], refined where there is a refiner."""
    if refiner is None:
        return render_image(
            planes, decoder, camera_to_world, intrinsics, height, width,
            samples=samples, background=background, occupancy=occupancy,
        ).rgb.clamp(0, 1)  # fmt: skip
    rgb, alpha = render_refined(
        planes, decoder, refiner, camera_to_world, intrinsics, height, width,
        samples=samples, occupancy=occupancy,
    )  # fmt: skip
    return (rgb - (1 - background) * (1 - alpha[..., None])).clamp(0, 1)


def frames(
    planes: Tensor,
    decoder: TriplaneDecoder,
    *,
    count: int = 24,
    size: int = 128,
    elevation_degrees: float = 5.0,
    samples: int = 96,
    background: float = 1.0,
    occupancy: Tensor | None = None,
    refiner: RefinerSystem | None = None,
) -> np.ndarray:
    """A full turn about planes (3, C, H, W): uint8 (count, size, size, 3), the first frontal.

    From WHOLE_RADIUS, a sixth farther away than portraits are taken.

    `occupancy` as `render_image` takes it, and a refiner of what it renders, here and below.
    """
    intrinsics = cameras.intrinsics_from_fov(size, size)
    if occupancy is None:
        occupancy = occupancies.of_body(planes, decoder)
    images = [
        view(
            planes, decoder, matrix, intrinsics, size, size, samples=samples,
            background=background, occupancy=occupancy, refiner=refiner,
        )
        for matrix in cameras.turntable(count, elevation_degrees, WHOLE_RADIUS)
    ]  # fmt: skip
    return (torch.stack(images) * 255).round().byte().cpu().numpy()


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
    occupancy: Tensor | None = None,
    refiner: RefinerSystem | None = None,
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
        occupancy=occupancy,
        refiner=refiner,
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


def mesh(
    planes: Tensor,
    decoder: TriplaneDecoder,
    path: Path | str,
    *,
    size: int = 256,
    sigma: float = SURFACE_SIGMA,
) -> Path:
    """Write the surface of planes (3, C, H, W) with vertex colours as .glb or .ply, metres, y up.

    See `surface.extract` for `size` (voxels a side) and `sigma`. Raises ExportError for another
    suffix and SurfaceError when nothing is that dense.
    """
    path = Path(path)
    if path.suffix not in (".glb", ".ply"):
        raise ExportError(f"{path.name} is no mesh file; name it .glb or .ply")
    found = extract(planes, decoder, size=size, sigma=sigma)
    if path.suffix == ".glb":
        path.write_bytes(encode_glb(found, BOX_HALF_SIZE_M))
        return path
    import trimesh

    rgba = np.full((len(found.points), 4), 255, np.uint8)
    rgba[:, :3] = np.rint(found.colours * 255)
    shape = trimesh.Trimesh(
        found.points * BOX_HALF_SIZE_M,
        found.faces,
        vertex_normals=found.normals,
        vertex_colors=rgba,
        process=False,
    )
    data = shape.export(file_type="ply", vertex_normal=True)
    assert isinstance(data, bytes)
    path.write_bytes(data)
    return path


def pictures(
    planes: Tensor,
    decoder: TriplaneDecoder,
    path: Path | str,
    *,
    count: int = 6,
    size: int = 256,
    samples: int = 128,
    occupancy: Tensor | None = None,
    refiner: RefinerSystem | None = None,
) -> Path:
    """Write `count` views from around planes (3, C, H, W), side by side, as .png."""
    from PIL import Image

    path = Path(path)
    if path.suffix != ".png":
        raise ExportError(f"{path.name} is no picture; name it .png")
    row = frames(
        planes, decoder, count=count, size=size, samples=samples, occupancy=occupancy,
        refiner=refiner,
    )  # fmt: skip
    Image.fromarray(np.concatenate(list(row), axis=1)).save(path)
    return path
