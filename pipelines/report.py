"""Stage report: a run -> one self-contained report.html.

Input    whatever the other stages have left in --out; a missing part is named, not faked.
Output   report.html: pictures and tables inline, no other file needed.
Work     one process, seconds. A second run writes the page again.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.manifest import Dataset, DatasetError, open_dataset
from pipelines import models
from pipelines.context import Context, open_context
from pipelines.options import Options, entry
from pipelines.settings import RunSettings

QUALITY = "triplanes/quality.html"  # beside the report, which links it
MAX_PICTURES = 24  # of one kind on the page
# columns of a history that are no terms of the loss
NOT_LOSSES = ("samples", "samples_per_second", "input_wait_share", "rate", "grad_norm")


def inline(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def picture(context: Context, key: str, caption: str) -> list[dict[str, str]]:
    """The object as a figure; an empty list where it is not there (yet)."""
    if not context.store.exists(key):
        return []
    kind = key.rpartition(".")[2]
    return [{"src": inline(context.store.read(key), kind), "caption": caption}]


def read_history(context: Context, stage: str) -> list[dict[str, float]]:
    """The curve of a training stage: one dict a logged point, `samples` among them."""
    key = f"models/{stage}/history.jsonl"
    if not context.store.exists(key):
        return []
    return [json.loads(line) for line in context.store.read(key).splitlines() if line]


def curves(history: Sequence[dict[str, float]], title: str) -> bytes:
    """PNG of the losses against samples seen, log scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.2), dpi=100)
    names = [name for name in history[-1] if name not in NOT_LOSSES]
    for name in names:
        points = [(row["samples"], row[name]) for row in history if name in row]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
    axes.set(xlabel="tri-planes seen", ylabel="loss", title=title, yscale="log")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def dataset(context: Context, name: str) -> Dataset | None:
    try:
        return open_dataset(context.child(name))
    except DatasetError:
        return None


def people(context: Context) -> dict[str, Any]:
    views = dataset(context, "views")
    count = len(views) if views else 0
    return {
        "title": "Rendered people",
        "text": f"{count} synthetic people, each drawn by Blender from one integer. "
        "Portrait first, then other sides; held-out people are marked val.",
        "figures": picture(context, "views/contact.png", "ground truth"),
        "missing": "" if views else "No views yet: run pipelines.render.",
    }


def fits(context: Context) -> dict[str, Any]:
    planes = dataset(context, "triplanes")
    section: dict[str, Any] = {
        "title": "Fitted tri-planes",
        "text": "Views that the fit never saw: ground truth left, tri-plane right, over white.",
        "figures": picture(context, "triplanes/contact.png", "held-out views: truth | fit"),
        "missing": "" if planes else "No tri-planes yet: run pipelines.fit.",
    }
    if planes is not None:
        rows = list(planes.rows())
        head = ["person", "split", "held-out PSNR, dB", "SSIM"]
        section["table"] = [head] + [
            [r["key"], r["split"], f"{r['metric_psnr']:.2f}", f"{r['metric_ssim']:.3f}"]
            for r in rows[:MAX_PICTURES]
        ]
        mean = sum(r["metric_psnr"] for r in rows) / len(rows)
        worst = min(r["metric_psnr"] for r in rows)
        section["text"] += f" Mean {mean:.2f} dB, worst {worst:.2f} dB over {len(rows)} people."
        if context.store.exists(QUALITY):
            section["link"] = {"href": QUALITY, "text": "Every measure, and the worst ten"}
    return section


def training(context: Context) -> dict[str, Any]:
    figures, table = [], [["model", "tri-planes seen", "last loss"]]
    for stage in models.KINDS:
        history = read_history(context, stage)
        if history:
            figures.append({"src": inline(curves(history, stage), "png"), "caption": stage})
        sheets = sorted(context.store.list(f"models/{stage}/sheets/"))
        if sheets:
            caption = f"{stage} at the end: people it was not trained on, where there are any"
            figures += picture(context, sheets[-1], caption)
            last = history[-1]
            table.append([stage, f"{last['samples']:,.0f}", f"{last['loss']:.4f}"])
    return {
        "title": "Training",
        "text": "Losses against tri-planes seen.",
        "figures": figures,
        "table": table if figures else None,
        "missing": "" if figures else "No models yet: run pipelines.train.",
    }


def samples_folder(context: Context) -> str:
    return context.read_json("samples/latest.json", {"folder": "samples"})["folder"]


def generated(context: Context) -> dict[str, Any]:
    folder = samples_folder(context)
    figures = picture(context, f"{folder}/seeds.png", "from a seed")
    figures += picture(context, f"{folder}/portraits.png", "from the portrait on the left")
    figures += picture(
        context,
        f"{folder}/refined.png",
        "without the refiner (left) and with it (right, from smaller renders)",
    )
    return {
        "title": "Generated avatars",
        "text": "Sampled by the base diffusion, raised by the upsampler, seen from several sides.",
        "figures": figures,
        "missing": "" if figures else "No samples yet: run pipelines.sample.",
    }


def times(context: Context) -> dict[str, Any]:
    stats = context.stats()
    total = sum(row["seconds"] for row in stats)
    table = [["stage", "seconds", "what it did"]]
    table += [[row["stage"], f"{row['seconds']:.0f}", row.get("did", "")] for row in stats]
    table.append(["all", f"{total:.0f}", ""])
    return {
        "title": "Time per stage",
        "text": "Every launch that had something to do; one that was stopped is not counted.",
        "figures": [],
        "table": table,
    }


def write(context: Context) -> str:
    """Builds the page; returns its address."""
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string(
        (Path(__file__).parent / "report.html").read_text()
    )
    hero = picture(context, f"{samples_folder(context)}/turntable.webp", "")
    config = context.read_json("config.json", {})
    page = template.render(
        name=Path(context.out.rstrip("/")).name,
        summary="From seeds to new 3D avatars: what this run rendered, fitted, trained and made.",
        hero=hero[0]["src"] if hero else "",
        sections=[part(context) for part in (people, fits, training, generated, times)],
        digest=config.get("digest", ""),
        config=json.dumps(config, indent=2),
        meta=json.dumps(context.read_json("meta.json", {}), indent=2),
    )
    context.store.write("report.html", page.encode())
    return context.store.location("report.html")


def launch(options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    if options.dry_run:
        print(f"report: would write {context.store.location('report.html')}")
        return
    print(f"report: {write(context)}")


def main(argv: Sequence[str] | None = None) -> None:
    entry("report", __doc__ or "", (), launch, argv)


if __name__ == "__main__":
    main()
