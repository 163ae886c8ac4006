"""The named starting points of a run. Every number can be overridden on the command line."""

from __future__ import annotations

from pipelines.presets_builtin import BUILTIN
from pipelines.presets_gpu import PAPER, SINGLE_GPU
from pipelines.presets_small import DEMO, TINY
from pipelines.variants import ABLATION

PRESETS = {
    "tiny": TINY,
    "demo": DEMO,
    "builtin": BUILTIN,
    "ablation": ABLATION,
    "single-gpu": SINGLE_GPU,
    "paper": PAPER,
}
