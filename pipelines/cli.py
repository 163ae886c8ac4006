"""`rodin <command> ...` is `python -m pipelines.<command> ...`; the gallery is in `blender`."""

from __future__ import annotations

import importlib
import sys

STAGES = {
    "gallery": "look at the people of some seeds (--seeds 0:48 --out gallery.png)",
    "validate": "draw many people and count what is wrong with them (--seeds 0:300)",
    "run": "the whole chain: render, fit, train, sample, report; does only what remains",
    "render": "seeds -> posed views of synthetic people (Blender)",
    "fit": "views -> tri-planes with one shared decoder",
    "train": "tri-planes -> base, upsampler or refiner (--stage base|upsampler|refiner)",
    "average": "another average of a trained model's weights (--stage base --width 0.07)",
    "sample": "models -> new avatars",
    "evaluate": "a trained run against people it never saw: distances, portraits, pictures",
    "card": "numbers and pictures of a model: what texts and edits do, who it copies",
    "ablate": "what each part of the method brings: variants trained, judged, compared",
    "pack": "a run's models without its data -> one folder that rodin generate reads",
    "generate": "avatars from seeds, a text or a portrait -> pictures, mesh, film, tri-plane",
    "view": "a page to turn, make, change and save avatars, in the browser",
    "serve": "avatars over HTTP: a queue, limits, health and metrics (--port 8000)",
    "register": "a run's models -> MLflow's registry (models:/rodin@champion)",
    "report": "a run -> one self-contained report.html",
    "submit": "a stage, or the chain, as jobs of a Ray cluster (--address http://host:8265)",
    "dataset": "look at, verify, filter, merge and extend the shards of a run",
    "fit-one": "a folder of posed images (transforms.json) -> tri-plane, mesh, turntable",
    "export": "a tri-plane -> mesh (.glb .ply), film (.webp .mp4) or picture (.png)",
    "plan": "hours, bytes and money of a run on given machines (--preset paper --avatars 100000)",
}


def usage() -> str:
    lines = [
        "usage: rodin STAGE [--preset tiny|demo|ablation|single-gpu|paper] [--out URI] [--help]",
        "       rodin gallery [--seeds 0:48] [--out PNG] [--help]",
        "       rodin submit [--address URL] STAGE|chain ... [--help]",
        "       rodin dataset verify|ls|head|card|filter|merge|extend DATASET [--help]",
        "       rodin fit-one VIEWS --decoder RUN [--help]",
        "       rodin export TRIPLANE --out avatar.glb [--help]",
        "       rodin evaluate --run RUN [--help]",
        "       rodin average --run RUN --width 0.07 [--help]",
        "       rodin generate MODEL --out FOLDER [--seed 3] [--text ...] [--help]",
        "       rodin serve MODEL [--port 8000] [--help]",
        "",
    ]
    lines += [f"  {name:<8} {text}" for name, text in STAGES.items()]
    lines += [
        "",
        "Settings: --section.knob VALUE or section.knob=VALUE; `rodin STAGE --help` lists them.",
        "The same command, run again, goes on where the last one stopped.",
    ]
    return "\n".join(lines)


def main() -> None:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return
    stage = words[0]
    if stage not in STAGES:
        print(
            f"error: unknown stage {stage!r}; choose one of: {', '.join(STAGES)}", file=sys.stderr
        )
        raise SystemExit(2)
    package = "blender" if stage in ("gallery", "validate") else "pipelines"
    importlib.import_module(f"{package}.{stage.replace('-', '_')}").main(words[1:])


if __name__ == "__main__":
    main()
