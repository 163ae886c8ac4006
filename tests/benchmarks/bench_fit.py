"""Fitting: ours against EG3D's recipe, speed and quality (`make bench`).

Prints Markdown tables and writes them between the markers of docs/benchmarks.md. What it needs is
made from seeds at the first call (people are rendered, decoders trained) and kept under --views.
Both engines run in one process by turns: ratios are what to read. Times are CPU seconds of one
thread, which do not depend on who else uses the machine, and leave out measuring.
`--quality` fits 16 people who are not in the decoder's training, `--full` one of full size.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from people import people
from plain_fit import PlainFit

from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.fit import FitResult, FitSettings, Views, evaluate, fit_decoder, fit_many, fit_planes
from rodin.fit_step import draw, step_gradient
from rodin.plane_store import PlaneStore
from rodin.raybank import RayBank

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/benchmarks.md"
MARKS = ("<!-- bench_fit: written by tests/benchmarks/bench_fit.py -->", "<!-- bench_fit end -->")
TRAINED = list(range(8))  # people of the shared decoder
HELD_OUT = list(range(8, 24))  # people who are not
PX, VIEWS = 128, 60
SETTINGS = FitSettings(
    decoder=DecoderConfig(channels=16, hidden=64),
    resolution=128,
    base_resolution=64,
    held_out=6,
    steps=1000,
    decoder_steps=1000,
    rays_per_step=4096,
    render_samples=128,
)
FULL = replace(
    SETTINGS,
    decoder=DecoderConfig(channels=32, hidden=64),
    resolution=256,
    held_out=8,
    steps=2000,
    occupancy_size=96,
    render_samples=256,
)


class Clock:
    """CPU seconds while it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, action: Callable[[], object]) -> float:
        start = time.process_time()
        action()
        taken = time.process_time() - start
        self.seconds += taken
        return taken


@dataclass
class Kept:
    """What is made once: views of people and shared decoders, in a folder."""

    folder: Path
    said: str = ""  # of the decoder last asked for: is its first person forgotten?

    def views(self, seeds: list[int], count: int = VIEWS, size: int = PX) -> list[Views]:
        return people(self.folder, seeds, count, size)

    def decoder(self, settings: FitSettings) -> TriplaneDecoder:
        """Phase 1 over the people in TRAINED."""
        name = hashlib.sha256(f"{settings.digest()} {TRAINED} {VIEWS}x{PX}".encode()).hexdigest()
        path = self.folder / f"decoder_{name[:12]}.safetensors"
        if not path.exists():
            print(f"trains a decoder: {settings.decoder_steps} steps", file=sys.stderr)
            subjects = self.views(TRAINED)
            decoder, planes = fit_decoder(subjects, settings, seed=0)
            ends = [
                evaluate(
                    planes[i],
                    decoder,
                    subjects[i].split(settings.held_out)[1],
                    samples=settings.render_samples,
                )["psnr"]
                for i in (0, -1)
            ]
            first, last = (f"{psnr:.2f}" for psnr in ends)
            path.with_suffix(".txt").write_text(
                f"Shared decoder, {len(subjects)} people, {settings.decoder_steps} joint steps;"
                f" held-out PSNR at the end: first person {first} dB, last {last} dB.\n"
            )
            decoder.save(path)
        note = path.with_suffix(".txt")
        self.said = note.read_text() if note.exists() else ""
        return TriplaneDecoder.load(path)


def table(head: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    names = head.split(" | ")
    yield f"| {head} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def speed(views: Views, steps: int) -> Iterator[str]:
    """Rays a second of whole training steps at 256 planes of 32 channels."""
    settings = replace(SETTINGS, decoder=FULL.decoder, resolution=256)
    decoder = TriplaneDecoder(settings.decoder).requires_grad_(False)
    fitted, _ = views.split(settings.held_out)
    plain, bank = PlainFit(fitted, decoder, settings), RayBank(fitted, 64, 0.06, True)
    store = PlaneStore(torch.zeros(1, 3, 32, 256, 256))
    generator = torch.Generator().manual_seed(0)

    def ours(size: int) -> None:
        drawn = draw([bank], settings, [generator])
        step_gradient(store, decoder, drawn, settings, generator, size)
        store.step(1e-2)

    plain.step(0.5)
    taken: dict[str, list[float]] = {"plain": [], "ours": [], "scaled": []}
    for _ in range(steps):
        taken["plain"].append(Clock().run(lambda: plain.step(0.5)))
        for _ in range(3):
            taken["ours"].append(Clock().run(lambda: ours(256)))
            taken["scaled"].append(Clock().run(lambda: ours(64)))
    names = {
        "plain": "straightforward: 48 + 48 samples, grid_sample, dense",
        "ours": "ours",
        "scaled": "ours, a step of random scaling (at 64 texels)",
    }
    median = {name: statistics.median(values) for name, values in taken.items()}
    rows = [
        (
            names[name],
            f"{seconds * 1e3:.0f}",
            f"{settings.rays_per_step / seconds:,.0f}",
            f"{median['plain'] / seconds:.1f}",
        )
        for name, seconds in median.items()
    ]
    yield "A training step of 4,096 rays, planes of 256 texels and 32 channels:\n"
    yield from table("engine | CPU ms | rays a second | times", rows)


def race(views: Views, decoder: TriplaneDecoder, budget: float) -> Iterator[str]:
    """Time to the same held-out PSNR: the straightforward engine has `budget` seconds."""
    fitted, held_out = views.split(SETTINGS.held_out)

    def measure(planes: torch.Tensor) -> float:
        return evaluate(planes, decoder, held_out, samples=SETTINGS.render_samples)["psnr"]

    clock, curve, steps = Clock(), [], 0
    decoder.requires_grad_(False)
    plain = PlainFit(fitted, decoder, SETTINGS)
    while clock.seconds < budget:
        clock.run(lambda: plain.step(clock.seconds / budget))
        steps += 1
        if clock.seconds > budget * (len(curve) + 1) / 4:
            curve.append((clock.seconds, measure(plain.planes.detach()), steps))
    target = max(psnr for _, psnr, _ in curve)
    when = next(seconds for seconds, psnr, _ in curve if psnr >= target)
    mine: list[tuple[float, float, int]] = []
    for steps in (20, 40, 80, 160, 320, 640):
        seconds, result = timed_fit(views, decoder, replace(SETTINGS, steps=steps))
        mine.append((seconds, result.metrics["psnr"], steps))
        if mine[-1][1] >= target:
            break
    yield f"Time to the same held-out PSNR, {PX} px, planes of 128 texels and 16 channels:\n"
    rows = [("straightforward", f"{s:.0f}", str(n), f"{p:.2f}") for s, p, n in curve]
    rows += [("ours", f"{s:.1f}", str(n), f"{p:.2f}") for s, p, n in mine]
    yield from table("engine | CPU s | steps | dB", rows)
    last = mine[-1][0]
    yield f"{target:.2f} dB: {when:.0f} CPU s and {last:.1f}, **{when / last:.0f} times**.\n"


def timed_fit(
    views: Views, decoder: TriplaneDecoder, settings: FitSettings
) -> tuple[float, FitResult]:
    """Seconds of a fit, with the building of its ray bank, without the measuring at the end."""
    start = time.process_time()
    ends = [start]
    result = fit_planes(
        views, decoder, settings, seed=0, progress=lambda *_: ends.append(time.process_time())
    )
    return ends[-1] - start, result


def curve(views: Views, decoder: TriplaneDecoder, budgets: list[int]) -> Iterator[str]:
    """PSNR over time; every row is a fit of its own, with its whole schedule."""
    rows = []
    for steps in budgets:
        seconds, result = timed_fit(views, decoder, replace(SETTINGS, steps=steps))
        numbers = [f"{result.metrics[name]:.2f}" for name in ("psnr", "psnr_base")]
        rows.append((str(steps), f"{seconds:.1f}", *numbers))
    without = replace(SETTINGS, steps=budgets[1], scale_probability=0.0)
    seconds, result = timed_fit(views, decoder, without)
    numbers = [f"{result.metrics[name]:.2f}" for name in ("psnr", "psnr_base")]
    rows.append((f"{budgets[1]}, no random scaling", f"{seconds:.1f}", *numbers))
    yield "Held-out PSNR over time of a person outside the decoder's training, at 128 texels and"
    yield "resized to 64:\n"
    yield from table("steps | CPU s | dB at 128 | dB at 64", rows)


def batching(views: list[Views], decoder: TriplaneDecoder, steps: int) -> Iterator[str]:
    """A batch against each alone."""
    settings = replace(SETTINGS, steps=steps)
    seeds = list(range(len(views)))
    start = time.process_time()
    together = fit_many(views, decoder, settings, seeds=seeds)
    batch = time.process_time() - start
    start = time.process_time()
    alone = [fit_planes(v, decoder, settings, seed=s) for v, s in zip(views, seeds, strict=True)]
    single = time.process_time() - start
    gaps = [
        abs(a.metrics["psnr"] - b.metrics["psnr"])
        for a, b in zip(alone, together, strict=True)
        if isinstance(b, FitResult)
    ]
    assert len(gaps) == len(views), together
    yield f"{len(views)} people in one batch and each alone, {steps} steps: PSNR differs by at most"
    yield f"{max(gaps):.3f} dB; {single:.0f} CPU s alone, {batch:.0f} together.\n"


def quality(kept: Kept, decoder: TriplaneDecoder, seeds: list[int]) -> Iterator[str]:
    scores, taken = [], []
    for seed in seeds:
        seconds, result = timed_fit(kept.views([seed])[0], decoder, SETTINGS)
        print(seed, f"{seconds:.0f} s", result.metrics, file=sys.stderr, flush=True)
        scores.append(result.metrics)
        taken.append(seconds)
    psnr = np.array([score["psnr"] for score in scores])
    yield f"{len(seeds)} people outside the decoder's training, {SETTINGS.steps} steps each"
    middle = statistics.median(taken)
    yield f"(median {middle:.0f} CPU s), {VIEWS} views, {SETTINGS.held_out} held out:\n"
    names = ("psnr", "psnr_base", "ssim", "alpha_iou", "depth_error")
    rows = []
    for label, choose in (
        ("mean", np.mean),
        ("worst decile", lambda v: np.quantile(v, 0.1)),
        ("worst", np.min),
    ):
        row = [choose(np.array([score[name] for score in scores])) for name in names[:4]]
        depth = np.array([score["depth_error"] for score in scores])
        row.append(-choose(-depth))
        rows.append((label, *(f"{v:.2f}" for v in row[:2]), *(f"{v:.3f}" for v in row[2:])))
    yield from table("over people | dB at 128 | dB at 64 | SSIM | alpha IoU | depth error", rows)
    print("worst people:", [seeds[i] for i in psnr.argsort()[:3]], file=sys.stderr)


def full(kept: Kept) -> Iterator[str]:
    decoder = kept.decoder(replace(FULL, resolution=128))
    seconds, result = timed_fit(kept.views([100], 100, 256)[0], decoder, FULL)
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in result.metrics.items())
    yield f"Full size (256 texels, 32 channels, 100 views of 256 px), {FULL.steps} steps:"
    yield f"{seconds:.0f} CPU s; {numbers}.\n"


def write(text: str) -> None:
    """Put the text between the markers of the docs (made at the end when they are missing)."""
    page = DOCS.read_text()
    if MARKS[0] not in page:
        page = page.rstrip() + f"\n\n## Fitting tri-planes\n\n{MARKS[0]}\n{MARKS[1]}\n"
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    DOCS.write_text(f"{before}{MARKS[0]}\n\n{text.strip()}\n\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=Path, default=ROOT / "runs/bench-fit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=120, help="CPU seconds of the slow engine")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of the slow engine")
    parser.add_argument("--quality", action="store_true", help="16 people; an hour or less")
    parser.add_argument("--full", action="store_true", help="one person of full size")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kept = Kept(args.views)
    person = kept.views(HELD_OUT[:1])[0]
    decoder = kept.decoder(SETTINGS)
    parts: list[Iterator[str]] = [
        speed(person, args.steps),
        race(person, decoder, args.budget),
        curve(person, decoder, [100, 300, SETTINGS.steps]),
        batching(kept.views(HELD_OUT[:2]), decoder, 30),
    ]
    if args.quality:
        parts.append(quality(kept, decoder, HELD_OUT))
    if args.full:
        parts.append(full(kept))
    lines = [kept.said]
    print(kept.said)
    for part in parts:
        for line in part:
            print(line, flush=True)
            lines.append(line)
    if not args.no_write:
        write("\n".join(lines))


if __name__ == "__main__":
    main()
