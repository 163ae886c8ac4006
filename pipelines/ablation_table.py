"""The results of ablations as Markdown: means and spreads, what each part brings, run ids."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.variants import Pair, Variant
from rodin.distances import FEATURES

Result = Mapping[str, Any]  # what is in result.json


@dataclass(frozen=True)
class Column:
    """A metric of the table."""

    metric: str
    title: str
    sign: int  # 1 = more is better, -1 = less is
    scale: float = 1.0
    digits: int = 3


COLUMNS = (
    Column(f"fd_{FEATURES}", "Frechet distance", -1),
    Column(f"kd_{FEATURES}", "kernel distance x 1000", -1, 1000.0, 2),
    Column(f"recall_{FEATURES}", "recall", 1, digits=2),
    Column("psnr_portraits", "portraits, dB", 1, digits=2),
    Column(f"{FEATURES}_distance_portraits", "portraits, features", -1),
    Column("val_loss", "held-out loss", -1, digits=4),
    Column("psnr_upsampled", "upsampled, dB", 1, digits=2),
    Column(f"{FEATURES}_distance_upsampled", "upsampled, features", -1),
)


def values(results: Sequence[Result], variant: str, column: Column) -> list[float]:
    """A metric of a variant, one number a training."""
    return [
        column.scale * result["metrics"][column.metric]
        for result in results
        if result["variant"] == variant and column.metric in result["metrics"]
    ]


def noise(results: Sequence[Result], column: Column) -> float:
    """Standard deviation between seeds, pooled over the variants with several; NaN without."""
    groups = [
        values(results, name, column) for name in sorted({str(r["variant"]) for r in results})
    ]
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in several)
    return math.sqrt(squares / freedom) if freedom else math.nan


def gain(results: Sequence[Result], pair: Pair, column: Column) -> tuple[float, float] | None:
    """What the better member gains, and its standard error; None where one was not measured."""
    worse, better = (values(results, name, column) for name in (pair.worse, pair.better))
    if not (worse and better):
        return None
    error = noise(results, column) * math.sqrt(1 / len(worse) + 1 / len(better))
    return column.sign * (statistics.mean(better) - statistics.mean(worse)), error


def _mean(found: Sequence[float], digits: int) -> str:
    if not found:
        return ""
    text = f"{statistics.mean(found):.{digits}f}"
    return f"{text} ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else text


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in table) + "\n"


def markdown(variants: Sequence[Variant], pairs: Sequence[Pair], results: Sequence[Result]) -> str:
    """Three tables: the variants, the pairs and the runs. ± is the deviation between seeds."""
    columns = [c for c in COLUMNS if any(c.metric in r["metrics"] for r in results)]
    head = ["variant", "what", "runs", "parameters", "GFLOP a sample"]
    head += [f"{column.title} ({'more' if column.sign > 0 else 'less'})" for column in columns]
    rows = []
    for variant in variants:
        own = [result for result in results if result["variant"] == variant.name]
        if own:
            size = [f"{own[0]['parameters']:,}", f"{own[0]['training_flops'] / 1e9:.2f}"]
            rows.append([variant.name, variant.text, str(len(own)), *size])
            rows[-1] += [_mean(values(own, variant.name, c), c.digits) for c in columns]
    parts = [_lines(head, rows)]
    rows = []
    for pair in pairs:
        gains = [gain(results, pair, column) for column in columns]
        if any(gains):
            rows.append([pair.what, *map(_gain, gains, [c.digits for c in columns])])
    if rows:
        parts.append(_lines(["gain of", *(column.title for column in columns)], rows))
    rows = [
        [f"{r['variant']}-{r['seed']}", f"`{r['mlflow_run']}`", f"{r['cpu_seconds']:.0f}"]
        for r in results
    ]
    parts.append(_lines(["training", "MLflow run", "CPU s"], rows))
    return "\n".join(parts)


def _gain(found: tuple[float, float] | None, digits: int) -> str:
    """The gain and, in brackets, how many standard errors it is."""
    if found is None:
        return ""
    value, error = found
    sizes = f" ({value / error:+.1f})" if error > 0 else ""
    return f"{value:+.{digits}f}{sizes}"
