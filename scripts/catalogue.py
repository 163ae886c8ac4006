"""Draws docs/avatars/*.jpg: for each style the first seeds that have it.

python scripts/catalogue.py [--only hair glasses]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from blender.cameras import CameraSettings, make_cameras
from blender.sheets import over_seeds, over_white, tile_sheet
from blender.spec import sample_spec

CACHE = Path("~/.cache/rodin").expanduser()
SEARCH = 4000  # seeds looked through
BUST = CameraSettings(fov=18.0, aim=0.10)
FACE = CameraSettings(fov=11.5, aim=0.14)
# sheet -> (attribute, camera, angles, people a style, tiles in a row)
SHEETS = {
    "hair": ("hair_style", BUST, [(25.0, 6.0), (150.0, 15.0)], 1, 5),
    "beards": ("beard", FACE, [(20.0, 0.0)], 2, 8),
    "clothes": ("garment", CameraSettings(aim=-0.05), [(15.0, 8.0)], 2, 8),
    "patterns": ("garment_pattern", CameraSettings(aim=-0.05), [(-10.0, 8.0)], 2, 8),
    "glasses": ("glasses", FACE, [(25.0, 5.0)], 1, 8),
    "headwear": ("headwear", BUST, [(25.0, 6.0), (130.0, 10.0)], 1, 4),
    "earrings": ("earrings", FACE, [(40.0, 0.0)], 1, 8),
    "necklaces": ("necklace", CameraSettings(fov=18.0, aim=-0.1), [(0.0, 5.0)], 2, 8),
    "piercings": ("piercing", FACE, [(15.0, 0.0)], 1, 8),
    "expressions": ("expression", FACE, [(0.0, 0.0)], 1, 8),
    "eyes": ("eye_colour", CameraSettings(fov=6.0, aim=0.2), [(0.0, 0.0)], 1, 8),
    "ages": ("decade", FACE, [(10.0, 3.0)], 2, 8),
}


def draw(seed: int, wanted: dict[int, list[str]], size: int) -> dict[str, np.ndarray]:
    """The tiles of one person for the sheets that want them."""
    from blender.cycles import add_camera, draw, encode, prepare, quiet, read
    from blender.render import build

    out = {}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        build(sample_spec(seed), CACHE)
        prepare(size, size, samples=16, denoise=True, threads=1)
        camera = add_camera()
        files = {
            name: draw(
                camera, make_cameras(SHEETS[name][2], size, SHEETS[name][1]), Path(folder), name
            )
            for name in wanted[seed]
        }
        for name, views in files.items():
            tiles = [over_white(encode(read(view))) for view in views]
            out[name] = np.concatenate(tiles, axis=1)
    return out


def chosen(name: str, people: dict[int, dict]) -> list[tuple[str, int]]:
    """(style, seed): the first people of each style, hair unhidden where it is the subject."""
    attribute, _, _, count, _ = SHEETS[name]
    found: dict[str, list[int]] = {}
    for seed, facts in people.items():
        bare = facts["headwear"] == "none"
        if name in ("hair", "beards", "clothes", "expressions", "earrings", "ages") and not bare:
            continue
        if name in ("expressions", "eyes", "ages", "piercings") and facts["glasses"] != "none":
            continue
        if name == "eyes" and facts["expression"] != "neutral":
            continue
        style = str(facts[attribute])
        if style not in ("none", "") and len(found.setdefault(style, [])) < count:
            found[style].append(seed)
    order = sorted(found) if name == "ages" else list(found)
    return [(style, seed) for style in order for seed in found[style]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SHEETS), default=list(SHEETS))
    parser.add_argument("--out", type=Path, default=Path("docs/avatars"))
    parser.add_argument("--size", type=int, default=176)
    args = parser.parse_args()
    people = {}
    for seed in range(SEARCH):
        facts = sample_spec(seed).attributes()
        people[seed] = {**facts, "decade": f"{int(facts['years']) // 10 * 10}s"}
    plan = {name: chosen(name, people) for name in args.only}
    wanted: dict[int, list[str]] = {}
    for name, pairs in plan.items():
        for _, seed in pairs:
            wanted.setdefault(seed, []).append(name)
    drawn: dict[int, dict[str, np.ndarray]] = {}
    for seed, result in tqdm(
        over_seeds(draw, sorted(wanted), wanted, args.size), total=len(wanted), unit="person"
    ):
        if isinstance(result, BaseException):
            raise result
        drawn[seed] = result
    args.out.mkdir(parents=True, exist_ok=True)
    for name, pairs in plan.items():
        tiles = [drawn[seed][name] for _, seed in pairs]
        words = [f"{style} ({seed})" for style, seed in pairs]
        sheet = tile_sheet(tiles, min(SHEETS[name][4], len(tiles)), words)
        sheet.save(args.out / f"{name}.jpg", quality=82, optimize=True)
        print(f"{args.out / name}.jpg: {len(set(s for s, _ in pairs))} styles")


if __name__ == "__main__":
    main()
