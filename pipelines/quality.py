"""The quality of fits, to look at: truth beside fit beside error, the worst ones, a histogram."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines import pictures
from rodin import metrics
from rodin import occupancy as occupancies
from rodin.decoder import TriplaneDecoder
from rodin.render import render_image
from rodin.views import Views

WORST = 10  # avatars on the page
MIN_AVATARS = 8  # fewer have no usual quality
ERROR_SCALE = 4.0  # an error of a quarter of the range is the end of the error map's colours
HIGHER_IS_WORSE = ("features", "lpips", "depth_error")
MEANING = {  # of the measures that a fit has, as the page tells them, in its order
    "psnr": "dB",
    "psnr_base": "dB, from the planes resized to the base's resolution",
    "ssim": "structural similarity, at most 1",
    "lpips": "distance of VGG features, 0 is equal",
    "features": "distance of EfficientNet features, 0 is equal; not LPIPS",
    "alpha_iou": "silhouettes: shared part of both areas, at most 1",
    "depth_error": "mean, box units",
}


def strips(
    planes: torch.Tensor, decoder: TriplaneDecoder, views: Views, *, count: int, samples: int = 128
) -> list[np.ndarray]:
    """(H, W, 3) pictures in [0, 1] of up to `count` views: truth, fit, error map of each in turn.

    planes (3, C, R, R) as they are stored; everything over white.
    """
    truth, _ = metrics.images(views)
    matrices, intrinsics = views.cameras()
    height, width = views.rgba.shape[1:3]
    grid = occupancies.from_density(planes[None], decoder)[0]
    row: list[np.ndarray] = []
    for i in range(min(count, len(views))):
        out = render_image(
            planes, decoder, matrices[i], intrinsics[i], height, width,
            samples=samples, occupancy=grid,
        )  # fmt: skip
        pair = truth[i].numpy(), out.rgb.clamp(0, 1).cpu().numpy()
        row += [*pair, error_map(*pair)]
    return row


def error_map(truth: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """(H, W, 3): mean absolute error over the channels, white through orange to black."""
    error = np.clip(np.abs(truth - fit).mean(-1) * ERROR_SCALE, 0, 1)
    return 1 - np.clip(2 * error[..., None] - np.array([1, 0.3, 0]), 0, 1)


def sheet_of(row: Sequence[np.ndarray]) -> bytes:
    """PNG of one avatar's `strips`, a view a tile with its PSNR, for people to look at."""
    views = [row[i : i + 3] for i in range(0, len(row), 3)]
    labels = []
    for truth, fit, _ in views:
        value = float(metrics.psnr(torch.as_tensor(fit), torch.as_tensor(truth)))
        labels.append(f"held out: truth | fit | error, {value:.1f} dB")
    side = max(256, row[0].shape[0])
    return pictures.png(pictures.grid(views, labels, tile=side, across=2))


def sheet(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], *, across: int = 1) -> bytes:
    """PNG of rows of `strips`: truth | fit | error, with a line of text under each."""
    return pictures.png(pictures.grid(rows, labels, across=across))


def poor_limit(psnr: Sequence[float], *, low: float, deviations: float) -> float:
    """The PSNR (dB) under which an avatar counts as badly fitted: `low`, or `deviations` robust
    standard deviations (1.4826 MAD, at least 0.5 dB) under the median, whichever is higher.

    The second rule needs MIN_AVATARS to say what is usual.
    """
    if len(psnr) < MIN_AVATARS:
        return low
    median = float(np.median(psnr))
    spread = 1.4826 * float(np.median(np.abs(np.asarray(psnr) - median)))
    return max(low, median - deviations * max(spread, 0.5))


def metric_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    hidden = ("metric_outlier", "metric_refits", "metric_psnr_first")
    found = {name for row in rows for name in row if name.startswith("metric_")}
    known = [f"metric_{name}" for name in MEANING]
    ordered = [name for name in known if name in found]
    return ordered + sorted(found.difference(hidden, known))


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Meaning, mean, median, worst decile and worst of every metric of the manifest."""
    table = []
    for name in metric_names(rows):
        values = np.array([row[name] for row in rows if row.get(name) is not None])
        short = name.removeprefix("metric_")
        worse = short in HIGHER_IS_WORSE
        table.append(
            {
                "metric": short,
                "meaning": MEANING.get(short, ""),
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "worst_decile": float(np.quantile(values, 0.9 if worse else 0.1)),
                "worst": float(values.max() if worse else values.min()),
            }
        )
    return table


def histogram(psnr: Sequence[float]) -> bytes:
    """PNG of the distribution of held-out PSNR over the avatars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 2.6), dpi=100)
    axes.hist(psnr, bins=min(40, max(8, len(psnr) // 4)), color="#4a7", edgecolor="white")
    axes.axvline(float(np.median(psnr)), color="#333", linewidth=1, linestyle="--")
    axes.set(xlabel="held-out PSNR, dB (dashed: median)", ylabel="avatars")
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def worst(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of the manifest with the lowest PSNR, worst first."""
    return sorted(rows, key=lambda row: row["metric_psnr"])[:WORST]


def page(
    rows: Sequence[Mapping[str, Any]], shown: Sequence[tuple[str, bytes]], facts: Mapping[str, Any]
) -> str:
    """quality.html, self-contained: the table, the histogram, and `shown` (caption, PNG)."""
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string(
        (Path(__file__).parent / "quality.html").read_text()
    )
    inline = "data:image/png;base64,"
    return template.render(
        facts=facts,
        count=len(rows),
        table=summary(rows),
        again=[row for row in rows if row.get("metric_refits")],
        histogram=inline
        + base64.b64encode(histogram([row["metric_psnr"] for row in rows])).decode(),
        shown=[(text, inline + base64.b64encode(data).decode()) for text, data in shown],
    )
