"""Does one process stay small? Draws many people in it and prints its memory now and then.

python scripts/memory.py --people 200
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from blender.cameras import sphere_cameras
from blender.render import RenderSettings, render_avatar
from blender.spec import sample_spec

CACHE = Path("~/.cache/rodin").expanduser()


def resident_mb() -> float:
    """This process's memory in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=2)
    args = parser.parse_args()
    print("| people | memory MB | peak MB | seconds |\n|---|---|---|---|")
    start, peak = time.perf_counter(), 0.0
    settings = RenderSettings(samples=4, threads=1)
    for seed in range(args.people):
        cameras = sphere_cameras(args.views, seed, args.size)
        render_avatar(sample_spec(seed), cameras, settings, CACHE)
        now = resident_mb()
        peak = max(peak, now)
        if seed in (0, 9) or seed % 20 == 19:
            print(
                f"| {seed + 1} | {now:.0f} | {peak:.0f} | {time.perf_counter() - start:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
