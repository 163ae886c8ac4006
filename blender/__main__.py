"""One avatar: `python -m blender --seed 7 --out avatar.png` draws it from four sides, and
`python -m blender --seed 7 --views 60 --out FOLDER` as posed images with a transforms.json."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from blender.bake import AssetError
from blender.cameras import CameraSettings, make_cameras, sphere_cameras
from blender.posed_folder import write_folder
from blender.render import RenderSettings, render_avatar, save_blend
from blender.sheets import over_white
from blender.spec import sample_spec
from blender.spec_types import AvatarSpec

_SIDES = [(0.0, 0.0), (40.0, 8.0), (90.0, 0.0), (180.0, 8.0)]  # azimuth, elevation


@dataclass(frozen=True)
class Sheet:
    """Draw one avatar from the front, half left, the side and behind, and save the picture; or,
    with --views, from all around, as a folder for nerfstudio, instant-ngp or `rodin fit-one`."""

    seed: int = 0  # which person; every integer from 0 is another one
    out: str = "avatar.png"  # PNG to write, its description beside it; with --views, a folder
    views: int = 0  # posed images around the avatar, the first frontal; 0 for the picture
    spec: str | None = None  # a .json written before, instead of a seed: edit it, draw it again
    size: int = 256  # pixels a view
    cache_dir: str = "~/.cache/rodin"  # where the body model is baked once (18 MB, some seconds)
    blend: str | None = None  # a .blend file to write too, ready to open in Blender
    fov: float = 24.0  # vertical field of view, degrees; less is closer
    render: RenderSettings = field(default_factory=lambda: RenderSettings(samples=16, depth=False))


def sheet(args: Sheet) -> None:
    """Do what the arguments ask."""
    spec = sample_spec(args.seed)
    if args.spec is not None:
        spec = AvatarSpec.from_dict(json.loads(Path(args.spec).read_text()))
    lens = CameraSettings(fov=args.fov)
    cameras = make_cameras(_SIDES, args.size, lens)
    if args.views:
        cameras = sphere_cameras(args.views, spec.seed, args.size, lens)
    rendered = render_avatar(spec, cameras, args.render, Path(args.cache_dir).expanduser())
    out = Path(args.out)
    if args.views:
        facts = {"seed": spec.seed, "caption": spec.caption(), "avatar": spec.to_dict()}
        wrote = str(write_folder(out, rendered, cameras, facts))
    else:
        row = over_white(np.concatenate(list(rendered.rgba), axis=1))
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row).save(out)
        out.with_suffix(".json").write_text(json.dumps(spec.to_dict(), indent=1) + "\n")
        wrote = f"{out} and {out.with_suffix('.json')}"
    print(spec.caption())
    if args.blend is not None:
        save_blend(spec, Path(args.blend), args.render, Path(args.cache_dir).expanduser())
        print(f"wrote {args.blend}")
    print(f"wrote {wrote}")


def main() -> int:
    """Entry point; returns the exit status."""
    args = tyro.cli(Sheet, prog="python -m blender", description=__doc__)
    try:
        sheet(args)
    except (ValueError, AssetError, OSError) as error:
        print(f"python -m blender: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
