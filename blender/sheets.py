"""Contact sheets, and many seeds at once in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, NoReturn

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blender.bake import AssetError

_MOST = 100_000  # seeds at once
_RECYCLE = 250  # people a process draws before it is replaced


def run_tool(work: Callable[[], bool]) -> NoReturn:
    """End the process: 0 if `work` found nothing wrong, 1 if it did, 2 after a one-line error."""
    try:
        wrong = work()
    except (ValueError, AssetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(int(wrong))


def parse_seeds(text: str) -> list[int]:
    """'0:48' (from, up to but not including), '3,7,9', '5', or a mixture '0:4,9' as numbers.

    Raises ValueError for anything else, negative seeds and more than 100,000 of them.
    """
    out: list[int] = []
    for part in text.split(","):
        first, colon, last = part.strip().partition(":")
        try:
            low = int(first)
            high = int(last) if colon else low + 1
        except ValueError:
            raise ValueError(f"seeds {text!r}: use 0:48, or 3,7,9, or 5") from None
        if low < 0 or high <= low or high - low > _MOST - len(out):
            raise ValueError(
                f"seeds {part.strip()!r} are not 1 to {_MOST} numbers from 0 upwards: use 0:48"
            )
        out += range(low, high)
    return out


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Straight-alpha RGBA (..., 4) uint8 to RGB (..., 3) uint8 on white."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def tile_sheet(
    tiles: Sequence[np.ndarray], across: int, captions: Sequence[str] = ()
) -> Image.Image:
    """Tiles (H, W, 3) uint8 of one size, `across` in a row; captions are wrapped beneath them."""
    if not tiles:
        raise ValueError("a sheet needs at least one tile")
    height, width = tiles[0].shape[:2]
    points = max(10, min(13, width // 18))
    font = ImageFont.load_default(points)
    line, lines = int(points * 1.25), 3 if captions else 0
    high = height + line * lines + (6 if captions else 0)
    rows = -(-len(tiles) // across)
    sheet = Image.new("RGB", (across * width, rows * high), "white")
    pen = ImageDraw.Draw(sheet)
    for k, tile in enumerate(tiles):
        left, top = k % across * width, k // across * high
        sheet.paste(Image.fromarray(tile), (left, top))
        for n, text in enumerate(_wrap(pen, font, captions[k], width - 8)[:lines] if lines else ()):
            pen.text((left + 4, top + height + n * line), text, fill="#333333", font=font)
    return sheet


def _wrap(pen: ImageDraw.ImageDraw, font: Any, text: str, width: int) -> list[str]:
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if pen.textlength(longer, font=font) <= width:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def _end_with_parent(parent: int) -> None:
    """Let this process end when the one that started it is gone, killed or not."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def over_seeds(
    function: Callable[..., Any], seeds: Sequence[int], *args: Any, workers: int = 0
) -> Generator[tuple[int, Any]]:
    """`function(seed, *args)` for every seed, in processes of its own; pairs as they are done.

    A result may be an exception: one person's failure ends nobody else's picture. `workers` 0 is
    one for each core. Close it (contextlib.closing) where an error may end the loop early.
    """
    count = max(1, min(workers or os.cpu_count() or 1, len(seeds)))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        count, spawn, _end_with_parent, (os.getpid(),), max_tasks_per_child=_RECYCLE
    ) as pool:
        futures = {pool.submit(function, seed, *args): seed for seed in seeds}
        try:
            for future in as_completed(futures):
                yield futures[future], future.exception() or future.result()
        finally:
            # Who stops asking does not want the others drawn.
            pool.shutdown(wait=False, cancel_futures=True)
