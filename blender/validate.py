"""`rodin validate --seeds 0:300 --out runs/validate`: draw many people and count what is wrong.

Each person is looked at from six sides and in a close-up of the face, as classes, depth and
landmarks, and as geometry. Writes `findings.json`, portraits in contact sheets, and prints a table.
Run again, it goes on where it was stopped; after a change of the code it begins anew.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from blender.bake import AssetError
from blender.body import Shaped
from blender.cameras import CameraSettings, make_cameras
from blender.defects import body_defects, face_defects, missing_parts
from blender.notes import Notes, code_digest
from blender.sheets import over_seeds, over_white, parse_seeds, run_tool, tile_sheet
from blender.spec import sample_spec
from blender.spec_types import AvatarSpec

KINDS = (
    "skin through clothes", "clothes through skin", "hair through the face", "hole in the hair",
    "hair through headwear", "skin through headwear", "hole in the face", "eye outside its lids",
    "eyes hidden", "teeth through the face", "tongue through the face", "floating piece",
    "outside the box", "empty head", "cropped head", "broken mesh", "broken strands",
    "a part is missing", "could not be built",
)  # fmt: skip
_AROUND = [(0.0, 0.0), (-45.0, 5.0), (45.0, 5.0), (90.0, 0.0), (180.0, 10.0), (150.0, 55.0)]
_FAR, _NEAR = 192, 256  # px
_CLOSE_UP = CameraSettings(fov=12.0, aim=0.12)
_SHEET = 50  # people
_MARKS = (1, 10, 50, 100, 150, 200, 250)  # people after which a process's memory is told
_LONGEST = 0.045  # m, an edge of the subdivided skin; the shoulders' reach 0.03


@dataclass(frozen=True)
class Validate:
    """Draw many people and count what is wrong with them."""

    seeds: str = "0:300"  # from:to (to is left out), or single ones: 3,7,9
    out: str = "runs/validate"  # folder for findings.json and the contact sheets
    size: int = 160  # px, side of a portrait
    workers: int = 0  # processes; 0 is one for each core
    cache_dir: str = "~/.cache/rodin"  # where the body model is baked once


def inspect(spec: AvatarSpec, cache_dir: Path, size: int = 160) -> dict[str, Any]:
    """Draw one person and look: 'defects' (texts), 'portrait' (size, size, 3) uint8 over white.

    Raises BuildError when the person cannot be built.
    """
    from blender.cycles import quiet
    from blender.render import build

    with quiet():
        shaped = build(spec, cache_dir)
    return inspect_scene(spec, shaped, size)


def inspect_scene(spec: AvatarSpec, shaped: Shaped, size: int = 160) -> dict[str, Any]:
    """`inspect` for the person who is in Blender's scene; leaves it in false colours."""
    from blender.cycles import add_camera, draw, encode, prepare, quiet, read
    from blender.landmarks import landmark_points, project, scalp_points
    from blender.passes import decode_truth, prepare_truth

    far = make_cameras(_AROUND, _FAR)
    near = make_cameras([(0.0, 0.0)], _NEAR, _CLOSE_UP)
    portrait = make_cameras([(0.0, 0.0)], size, CameraSettings(fov=18.0, aim=0.12))
    defects = mesh_defects()
    with quiet(), tempfile.TemporaryDirectory(prefix="blender-") as folder:
        camera, path = add_camera(), Path(folder)
        prepare(size, size, samples=8, denoise=True, threads=1)
        picture = encode(read(draw(camera, portrait, path, "portrait")[0]))
        images = []
        for name, cameras in (("far", far), ("near", near)):
            prepare(cameras.width, cameras.height, samples=1, denoise=False, threads=1)
            prepare_truth()
            images.append(np.stack([read(f) for f in draw(camera, cameras, path, name)]))
    around, close = decode_truth(images[0]), decode_truth(images[1])
    pixels, _ = project(landmark_points(shaped), near)
    scalp = scalp_points(shaped, spec.hair)
    defects += body_defects(spec, around.labels, around.depth, far, scalp)
    defects += face_defects(spec, close.labels[0], pixels[0])
    defects += missing_parts(spec, around.labels, close.labels[0], pixels[0])
    return {"defects": defects, "portrait": over_white(picture)}


def mesh_defects() -> list[str]:
    """Broken geometry in the current scene: what is not finite, torn or tangled."""
    import bpy

    found = []
    for item in bpy.context.scene.objects:
        if item.type == "MESH":
            count = len(item.data.vertices)
            points = np.empty(count * 3, np.float32)
            item.data.vertices.foreach_get("co", points)
            points = points.reshape(-1, 3)
            edges = np.empty(len(item.data.edges) * 2, np.int32)
            item.data.edges.foreach_get("vertices", edges)
            edges = edges.reshape(-1, 2)
            length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
            torn = item.name == "skin" and length.max(initial=0.0) > _LONGEST
            corners = np.empty(len(item.data.loops), np.int32)
            item.data.loops.foreach_get("edge_index", corners)
            tangled = item.name == "skin" and np.bincount(corners, minlength=1).max() > 2
            if not np.isfinite(points).all() or torn or tangled:
                found.append(f"broken mesh ({item.name})")
        elif item.type == "CURVES":
            points = np.empty(len(item.data.points) * 3, np.float32)
            item.data.attributes["position"].data.foreach_get("vector", points)
            strands = points.reshape(len(item.data.curves), -1, 3) if len(points) else points
            if not np.isfinite(points).all() or (
                len(points) and np.abs(np.diff(strands, axis=1)).max() > 0.05
            ):
                found.append(f"broken strands ({item.name})")
    return found


def inspect_seed(seed: int, args: Validate) -> dict[str, Any]:
    """`inspect` in a process of its own; also which one, and its memory in MB."""
    import os
    import resource

    out = inspect(sample_spec(seed), Path(args.cache_dir).expanduser(), args.size)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return out | {"process": os.getpid(), "memory_mb": pages * resource.getpagesize() / 1e6}


def kind_of(defect: str) -> str:
    """The row of the table that a defect's text belongs to."""
    plain = defect.split(" (", maxsplit=1)[0]
    return "a part is missing" if plain.startswith("no ") else plain


def table(findings: dict[int, list[str]]) -> str:
    """Markdown: how many people have each kind of defect, and any."""
    count = Counter(kind for found in findings.values() for kind in {kind_of(d) for d in found})
    lines = ["| defect | people | seeds |", "|---|---|---|"]
    for kind in KINDS:
        seeds = [s for s, found in sorted(findings.items()) if kind in map(kind_of, found)]
        lines.append(f"| {kind} | {count[kind]} | {', '.join(map(str, seeds[:8])) or '-'} |")
    bad = sum(bool(found) for found in findings.values())
    share = 100 * bad / max(len(findings), 1)
    lines.append(f"| **any** | **{bad} of {len(findings)} ({share:.1f} %)** | |")
    return "\n".join(lines)


def validate(args: Validate) -> dict[int, list[str]]:
    """Inspect everybody; returns the defects by seed and writes the files."""
    seeds = parse_seeds(args.seeds)
    out = Path(args.out)
    notes = Notes(out / "people", f"{code_digest()} {args.size}")
    memory: dict[int, list[float]] = {}
    remain = [seed for seed in seeds if seed not in notes.defects]
    done = len(seeds) - len(remain)
    bar = tqdm(total=len(seeds), initial=done, unit="person", desc="validate")
    with bar, closing(over_seeds(inspect_seed, remain, args, workers=args.workers)) as drawn:
        for seed, result in drawn:
            bar.update()
            if isinstance(result, (AssetError, OSError)):
                raise result
            if isinstance(result, BaseException):
                notes.add(seed, [f"could not be built ({type(result).__name__}: {result})"], None)
                continue
            notes.add(seed, result["defects"], result["portrait"])
            memory.setdefault(result["process"], []).append(result["memory_mb"])
    ordered = {seed: notes.defects[seed] for seed in sorted(set(seeds))}
    (out / "findings.json").write_text(json.dumps(ordered, indent=1) + "\n")
    tiles = notes.portraits(list(ordered))
    shown = list(tiles)
    for start in range(0, len(shown), _SHEET):
        part = shown[start : start + _SHEET]
        words = [f"{s} {'; '.join(ordered[s])}" for s in part]
        tile_sheet([tiles[s] for s in part], 10, words).save(out / f"people{start:04d}.png")
    np.savez_compressed(out / "portraits.npz", seeds=shown, rgb=[tiles[s] for s in shown])
    print(table(ordered))
    for process, taken in enumerate(memory.values()):
        marks = [n for n in _MARKS if n <= len(taken)]
        text = ", ".join(f"{taken[n - 1]:.0f} MB after {n}" for n in marks)
        print(f"memory of process {process}: {text}; at most {max(taken):.0f} MB")
    print(f"wrote {out}")
    return ordered


def too_many(findings: dict[int, list[str]]) -> bool:
    """Whether more than one person in a hundred has a defect."""
    return sum(map(bool, findings.values())) > 0.01 * len(findings)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exits with 1 if more than one person in a hundred has a defect."""
    args = tyro.cli(Validate, prog="rodin validate", description=__doc__, args=argv)
    run_tool(lambda: too_many(validate(args)))


if __name__ == "__main__":
    main()
