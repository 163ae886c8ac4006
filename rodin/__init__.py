"""Rodin: tri-plane avatars, their fitting, and the diffusion models that generate them.

`rodin.load(folder)` is the way in for who wants avatars: see `rodin.model`. Importing this module
imports nothing else: `rodin.conventions` (numpy only) stays light for other packages.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load":
        from rodin.model import load

        return load
    raise AttributeError(f"module 'rodin' has no attribute {name!r}")
