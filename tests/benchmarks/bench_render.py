"""Rendering: seconds a view and an avatar, and how far from a 512-sample picture (`make bench`).

Prints three Markdown tables. The error is PSNR over the foreground against the same view with 512
samples and no denoiser, mean over people; ratios between rows of one run are what to read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from blender.cameras import make_cameras
from blender.cycles import add_camera, draw, encode, prepare, quiet, read
from blender.passes import prepare_truth
from blender.render import build
from blender.spec import sample_spec

CACHE = Path("~/.cache/rodin").expanduser()
VIEWS = [(0.0, 0.0), (45.0, 8.0), (-60.0, 5.0), (150.0, 10.0)]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def pictures(folder: Path, size: int, samples: int, denoise: bool, views: int) -> tuple:
    """(seconds of the first view, mean of the next, sRGB pictures (V, H, W, 4)) of the scene."""
    prepare(size, size, samples=samples, denoise=denoise, threads=THREADS)
    camera = add_camera()
    taken, images = [], []
    for index in range(views):
        one = make_cameras(VIEWS[index : index + 1], size)
        start = time.perf_counter()
        files = draw(camera, one, folder, f"{size}_{samples}_{denoise}_{index}")
        taken.append(time.perf_counter() - start)
        images += files
    done = np.stack([encode(read(file)) for file in images])
    return taken[0], statistics.mean(taken[1:] or taken), done


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Over the pixels that are opaque in both."""
    solid = (a[..., 3] == 255) & (b[..., 3] == 255)
    error = (a[..., :3].astype(float) - b[..., :3].astype(float))[solid] / 255
    return float(-10 * np.log10(np.mean(error**2)))


def build_table(people: int) -> None:
    times, cpu = [], []
    for seed in range(people + 1):  # the first fills caches
        start = time.process_time()
        times.append(seconds(lambda seed=seed: build(sample_spec(seed), CACHE)))
        cpu.append(time.process_time() - start)
    times, cpu = times[1:], cpu[1:]
    print("| scene build | median s | 90 % s | worst s | median CPU s |\n|---|---|---|---|---|")
    row = (statistics.median(times), np.quantile(times, 0.9), max(times), statistics.median(cpu))
    print(f"| {people} people | " + " | ".join(f"{v:.2f}" for v in row) + " |\n")


def speed_table(seeds: list[int], sizes: list[int], samples: list[int]) -> None:
    print("| px / samples | first view s | next views s | avatar of 32 views s | truth pass s |")
    print("|---|---|---|---|---|")
    for size in sizes:
        for count in samples:
            first, later, truth = [], [], []
            for seed in seeds:
                with quiet(), tempfile.TemporaryDirectory() as folder:
                    build(sample_spec(seed), CACHE)
                    a, b, _ = pictures(Path(folder), size, count, True, 4)
                    prepare_truth()
                    _, c, _ = pictures(Path(folder), size, 1, False, 2)
                first.append(a)
                later.append(b)
                truth.append(c)
            one, more, exact = (statistics.median(v) for v in (first, later, truth))
            row = " | ".join(
                (f"{one:.2f}", f"{more:.2f}", f"{one + 31 * more:.1f}", f"{exact:.2f}")
            )
            print(f"| {size} / {count} | {row} |")
    print()


def error_table(seeds: list[int], sizes: list[int], samples: list[int]) -> None:
    print("| px | samples | PSNR denoised dB | PSNR plain dB | denoised s | plain s |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        rows: dict[tuple[int, bool], list[tuple[float, float]]] = {}
        for seed in seeds:
            with quiet(), tempfile.TemporaryDirectory() as folder:
                build(sample_spec(seed), CACHE)
                _, _, truth = pictures(Path(folder), size, 512, False, 2)
                for count in samples:
                    for denoise in (True, False):
                        _, taken, image = pictures(Path(folder), size, count, denoise, 2)
                        rows.setdefault((count, denoise), []).append((psnr(image, truth), taken))
        for count in samples:
            (p1, t1), (p0, t0) = (np.mean(rows[count, d], axis=0) for d in (True, False))
            print(f"| {size} | {count} | {p1:.1f} | {p0:.1f} | {t1:.2f} | {t0:.2f} |")
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--samples", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--error-size", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--people", type=int, default=24, help="people whose build is timed")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    THREADS = args.threads
    with quiet():
        build(sample_spec(0), CACHE)
    build_table(args.people)
    speed_table([0, 9], args.sizes, args.samples)
    error_table([0, 1], args.error_size, args.samples)
