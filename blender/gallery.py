"""`rodin gallery --seeds 0:48 --out gallery.png`: look at many people at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from blender.bake import AssetError
from blender.cameras import CameraSettings, make_cameras
from blender.light_rigs import Light
from blender.sheets import over_seeds, over_white, parse_seeds, run_tool, tile_sheet
from blender.spec import sample_spec

_ROW = [(0.0, 0.0), (40.0, 8.0), (90.0, 0.0), (180.0, 8.0)]  # azimuth, elevation


@dataclass(frozen=True)
class Gallery:
    """Draw the people of some seeds on one contact sheet."""

    seeds: str = "0:48"  # from:to (to is left out), or single ones: 3,7,9
    out: str = "gallery.png"  # PNG to write
    rows: bool = False  # a row of four views for each person, instead of one portrait
    size: int = 256  # px, side of a picture
    across: int = 0  # people side by side; 0 fits about 2,048 px
    samples: int = 16  # Cycles samples a pixel
    light: Light = "even"  # the rig; 'varied' is another one for every person
    captions: bool = True  # write each person's description beneath
    workers: int = 0  # processes; 0 is one for each core
    cache_dir: str = "~/.cache/rodin"  # where the body model is baked once (18 MB, some seconds)


def draw_person(seed: int, args: Gallery) -> np.ndarray:
    """The tile (size, size or 4 * size, 3) uint8 of one person, over white."""
    from blender.render import RenderSettings, render_avatar

    close = CameraSettings(fov=18.0, aim=0.12)
    angles, settings = (_ROW, CameraSettings()) if args.rows else (_ROW[:1], close)
    cameras = make_cameras(angles, args.size, settings)
    quality = RenderSettings(samples=args.samples, light=args.light, depth=False, threads=1)
    cache = Path(args.cache_dir).expanduser()
    rendered = render_avatar(sample_spec(seed), cameras, quality, cache)
    return over_white(np.concatenate(list(rendered.rgba), axis=1))


def gallery(args: Gallery) -> int:
    """Draw and save the sheet; returns how many people could not be drawn."""
    seeds = parse_seeds(args.seeds)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    views = len(_ROW) if args.rows else 1
    tiles: dict[int, np.ndarray] = {}
    failed: dict[int, str] = {}
    with closing(over_seeds(draw_person, seeds, args, workers=args.workers)) as drawn:
        for seed, result in tqdm(drawn, total=len(seeds), unit="person", desc="gallery"):
            if isinstance(result, (AssetError, OSError)):
                raise result
            if isinstance(result, BaseException):
                failed[seed] = f"{type(result).__name__}: {result}"
                tiles[seed] = np.full((args.size, views * args.size, 3), 225, np.uint8)
            else:
                tiles[seed] = result
    words = []
    for seed in seeds:
        text = sample_spec(seed).caption().removeprefix("A portrait of ")
        words.append(f"{seed}: {failed.get(seed, text)}")
    across = args.across or max(1, 2048 // (views * args.size))
    captions = words if args.captions else ()
    sheet = tile_sheet([tiles[s] for s in seeds], min(across, len(seeds)), captions)
    sheet.save(out)
    for seed, reason in sorted(failed.items()):
        print(f"seed {seed} could not be drawn: {reason}", file=sys.stderr)
    print(f"wrote {out}: {len(seeds) - len(failed)} people")
    return len(failed)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with 1 if somebody could not be drawn, 2 after wrong usage."""
    args = tyro.cli(Gallery, prog="rodin gallery", description=__doc__, args=argv)
    run_tool(lambda: gallery(args) > 0)


if __name__ == "__main__":
    main()
