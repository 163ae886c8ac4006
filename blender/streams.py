"""Named random streams, so that one more draw in one place changes nothing elsewhere."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """The stream called `name` of avatar `seed` (an integer from 0; 0 is a seed like any other)."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
