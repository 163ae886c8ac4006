"""How different are the people? Counts of every style, and the most alike of many portraits.

python scripts/diversity.py --seeds 0:500 --portraits runs/validate/portraits.npz

`rodin validate --seeds 0:500` makes the portraits. Their distance is that of
`rodin.perceptual.LitePerceptual` (EfficientNet-lite0, ImageNet); the closest pairs are drawn. What
"nearly the same" means is measured too: people drawn once more, turned by some degrees.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from blender.cameras import CameraSettings, make_cameras
from blender.sheets import over_white, parse_seeds, tile_sheet
from blender.spec import sample_spec
from rodin.perceptual import LitePerceptual

CACHE = Path("~/.cache/rodin").expanduser()
COLUMNS = (
    "gender", "skin_tone", "eye_colour", "hair_style", "hair_colour", "beard", "expression",
    "garment", "garment_pattern", "glasses", "headwear", "earrings", "necklace", "piercing",
)  # fmt: skip
TURNED = 5.0  # degrees of azimuth between two portraits of one person


def histogram(seeds: list[int]) -> str:
    """A Markdown table: each column's values with their counts."""
    facts = [sample_spec(seed).attributes() for seed in seeds]
    lines = [f"| of {len(seeds)} people | values | counts |", "|---|---|---|"]
    for name in COLUMNS:
        count = Counter(str(fact[name]) for fact in facts if name in fact)
        text = ", ".join(f"{value} {n}" for value, n in count.most_common())
        lines.append(f"| {name} | {len(count)} | {text} |")
    ages = np.array([fact["years"] for fact in facts])
    spread = ", ".join(f"{q} % {np.percentile(ages, q):.0f}" for q in (0, 10, 50, 90, 100))
    return "\n".join([*lines, f"| years | {ages.min()} to {ages.max()} | {spread} |"])


def distances(images: np.ndarray) -> np.ndarray:
    """Perceptual distance of all pairs (N, N) of images (N, H, W, 3) uint8; infinite to itself."""
    network = LitePerceptual()
    layers: list[torch.Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(images), 32):
            batch = torch.from_numpy(images[start : start + 32]).permute(0, 3, 1, 2) / 255
            parts = [
                (f / f.norm(dim=1, keepdim=True).clamp_min(1e-8) / np.sqrt(f[0, 0].numel()))
                for f in network.features(batch)
            ]
            layers.append(torch.cat([part.flatten(1) for part in parts], dim=1).half())
    table = torch.cat(layers).float()
    out = torch.cdist(table, table).square()
    return out.fill_diagonal_(torch.inf).numpy()


def turned(seeds: list[int], size: int) -> np.ndarray:
    """The portraits (N, size, size, 3) uint8 of the validator, with the camera TURNED aside."""
    from blender.cycles import add_camera, draw, encode, prepare, quiet, read
    from blender.render import build

    camera = make_cameras([(TURNED, 0.0)], size, CameraSettings(fov=18.0, aim=0.12))
    images = []
    for seed in seeds:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            build(sample_spec(seed), CACHE)
            prepare(size, size, samples=8, denoise=True, threads=2)
            images.append(
                over_white(encode(read(draw(add_camera(), camera, Path(folder), "x")[0])))
            )
    return np.stack(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0:500")
    parser.add_argument("--portraits", type=Path, default=Path("runs/validate/portraits.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/validate/alike.png"))
    parser.add_argument("--twice", type=int, default=24, help="people drawn once more, turned")
    args = parser.parse_args()
    print(histogram(parse_seeds(args.seeds)))
    with np.load(args.portraits, allow_pickle=False) as data:
        seeds, images = data["seeds"], data["rgb"]
    again = [int(i) for i in np.linspace(0, len(seeds) - 1, args.twice)]
    second = turned([int(seeds[i]) for i in again], images.shape[1])
    every = distances(np.concatenate([images, second]))
    gaps = every[: len(images), : len(images)]
    own = np.array([every[i, len(images) + k] for k, i in enumerate(again)])
    finite = gaps[np.isfinite(gaps)]
    nearest = gaps.min(axis=1)
    print(f"\n{len(seeds)} portraits; distance of two people: median {np.median(finite):.3f}")
    quantiles = ", ".join(f"{q} % {np.percentile(nearest, q):.3f}" for q in (0, 1, 10, 50, 90))
    print(f"to the nearest other: {quantiles}")
    print(
        f"one person twice, turned by {TURNED:g} degrees, {len(own)} people: median"
        f" {np.median(own):.3f}, most {own.max():.3f}"
    )
    same = int((nearest < own.max()).sum())
    print(f"people with another as near as that: {same}")
    tiles, words = [], []
    for index in np.argsort(nearest)[:24]:
        other = int(gaps[index].argmin())
        if index < other or gaps[other].argmin() != index:
            tiles += [images[index], images[other]]
            words += [f"{seeds[index]} and {seeds[other]}: {nearest[index]:.3f}", ""]
    tile_sheet(tiles, 8, words).save(args.out)
    print(f"the closest pairs are in {args.out}")


if __name__ == "__main__":
    main()
