"""The same seed gives the same geometry in other processes, and all but the same pixels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np

from blender.cameras import make_cameras
from blender.cycles import quiet
from blender.fingerprint import fingerprint
from blender.render import RenderSettings, build, render_avatar
from blender.spec import sample_spec

SEEDS = (0, 3, 8)
_CODE = """
import json, sys, numpy as np
from pathlib import Path
from blender.cameras import make_cameras
from blender.render import RenderSettings, render_avatar
from blender.spec import sample_spec
cache, out, threads, *seeds = sys.argv[1:]
hashes = {}
for seed in map(int, seeds):
    done = render_avatar(sample_spec(seed), make_cameras([(20.0, 5.0)], 64),
                         RenderSettings(samples=4, threads=int(threads)), Path(cache))
    hashes[seed] = done.geometry
    np.save(f"{out}/{seed}.npy", done.rgba)
print(json.dumps(hashes))
"""


def test_two_processes_agree(asset_cache: Path, tmp_path: Path) -> None:
    """Other number of threads, other order, other hash seed."""
    words = [sys.executable, "-c", _CODE, str(asset_cache), str(tmp_path), "1"]
    done = subprocess.run(
        [*words, *map(str, reversed(SEEDS))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"},
    )
    theirs = json.loads(done.stdout)
    for seed in SEEDS:
        settings = RenderSettings(samples=4, threads=2)
        ours = render_avatar(
            sample_spec(seed), make_cameras([(20.0, 5.0)], 64), settings, asset_cache
        )
        assert ours.geometry == theirs[str(seed)], seed
        gap = np.abs(ours.rgba.astype(int) - np.load(tmp_path / f"{seed}.npy").astype(int))
        assert gap.mean() <= 1.0, seed
    assert len(set(theirs.values())) == len(SEEDS)


def test_one_bit_of_one_vertex_changes_the_hash(asset_cache: Path) -> None:
    with quiet():
        build(sample_spec(0), asset_cache)
        first = fingerprint()
        assert first == fingerprint()
        vertex = bpy.data.objects["skin"].data.vertices[100]
        vertex.co.x = np.nextafter(np.float32(vertex.co.x), np.float32(1))
        assert fingerprint() != first
        build(sample_spec(0), asset_cache)
        assert fingerprint() == first
