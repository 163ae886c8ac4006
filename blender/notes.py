"""What a long inspection has seen so far, so that a run that was stopped goes on.

A folder with `seen.jsonl`: first a line with the digest of what decides the findings, then a line a
person; their portraits beside it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def code_digest() -> str:
    """sha256 (hex) of this package's sources: other code may find other things."""
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


class Notes:
    """Findings and portraits (size, size, 3) uint8 by seed, each on disk as soon as it is known.

    Notes of another digest are put aside and begun anew.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.path = folder, folder / "seen.jsonl"
        self.defects: dict[int, list[str]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        # A line that a kill has cut short is drawn again.
        rows = [row for row in map(_parsed, lines) if row is not None]
        if not rows or rows[0].get("digest") != digest:
            rows = [{"digest": digest}]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows[1:]:
            if not row["portrait"] or self._picture(row["seed"]).exists():
                self.defects[row["seed"]] = row["defects"]
        self._drawn = {row["seed"] for row in rows[1:] if row["portrait"]}

    def add(self, seed: int, defects: list[str], portrait: np.ndarray | None) -> None:
        """Keep what was found; `portrait` None for a person that could not be built."""
        if portrait is not None:
            Image.fromarray(portrait).save(self._picture(seed))
            self._drawn.add(seed)
        row = {"seed": seed, "defects": defects, "portrait": portrait is not None}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.defects[seed] = defects

    def portraits(self, seeds: list[int]) -> dict[int, np.ndarray]:
        """Those of `seeds` that could be drawn, in order."""
        shown = [seed for seed in sorted(seeds) if seed in self._drawn]
        return {seed: np.asarray(Image.open(self._picture(seed))) for seed in shown}

    def _picture(self, seed: int) -> Path:
        return self.folder / f"{seed:06d}.png"


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
