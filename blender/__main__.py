"""`python -m blender --seed 7 --out avatar.png`: one avatar from four sides, as a picture."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from blender.bake import AssetError
from blender.cameras import CameraSettings, make_cameras
from blender.render import RenderSettings, render_avatar
from blender.spec import sample_spec
from blender.spec_types import AvatarSpec

_SIDES = [(0.0, 0.0), (40.0, 8.0), (90.0, 0.0), (180.0, 8.0)]  # azimuth, elevation


@dataclass(frozen=True)
class Sheet:
    """Draw one avatar from the front, half left, the side and behind, and save the picture."""

    seed: int = 0  # which person; every integer from 0 is another one
    out: str = "avatar.png"  # PNG to write; its description goes beside it as .json
    spec: str | None = None  # a .json written before, instead of a seed: edit it, draw it again
    size: int = 256  # pixels a view
    cache_dir: str = "~/.cache/rodin"  # where the body model is baked once (18 MB, some seconds)
    fov: float = 24.0  # vertical field of view, degrees; less is closer
    render: RenderSettings = field(default_factory=lambda: RenderSettings(samples=16, depth=False))


def sheet(args: Sheet) -> None:
    """Do what the arguments ask."""
    spec = sample_spec(args.seed)
    if args.spec is not None:
        spec = AvatarSpec.from_dict(json.loads(Path(args.spec).read_text()))
    cameras = make_cameras(_SIDES, args.size, CameraSettings(fov=args.fov))
    rendered = render_avatar(spec, cameras, args.render, Path(args.cache_dir).expanduser())
    row = Image.fromarray(np.concatenate(list(rendered.rgba), axis=1))
    white = Image.new("RGBA", row.size, "white")
    white.alpha_composite(row)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    white.convert("RGB").save(out)
    out.with_suffix(".json").write_text(json.dumps(spec.to_dict(), indent=1) + "\n")
    print(spec.caption())
    print(f"wrote {out} and {out.with_suffix('.json')}")


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
