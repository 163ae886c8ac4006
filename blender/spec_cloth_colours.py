"""What captions call the colours of cloth: sRGB triples, bright, muted and dark."""

from __future__ import annotations

from blender.spec_base import Rgb

CLOTH_COLOURS: dict[str, Rgb] = {
    "white": (0.86, 0.86, 0.85),
    "cream": (0.88, 0.81, 0.68),
    "beige": (0.74, 0.65, 0.53),
    "tan": (0.66, 0.50, 0.34),
    "light grey": (0.66, 0.67, 0.68),
    "grey": (0.46, 0.47, 0.49),
    "charcoal": (0.21, 0.22, 0.24),
    "black": (0.075, 0.075, 0.085),
    "navy": (0.10, 0.15, 0.30),
    "blue": (0.18, 0.32, 0.62),
    "denim blue": (0.24, 0.35, 0.49),
    "light blue": (0.55, 0.70, 0.85),
    "teal": (0.08, 0.40, 0.42),
    "turquoise": (0.25, 0.62, 0.64),
    "mint": (0.64, 0.80, 0.70),
    "sage": (0.52, 0.58, 0.46),
    "green": (0.20, 0.42, 0.24),
    "dark green": (0.09, 0.22, 0.16),
    "olive": (0.38, 0.38, 0.22),
    "yellow": (0.86, 0.72, 0.28),
    "mustard": (0.72, 0.53, 0.16),
    "orange": (0.83, 0.42, 0.19),
    "rust": (0.58, 0.27, 0.15),
    "brown": (0.34, 0.22, 0.15),
    "red": (0.68, 0.14, 0.15),
    "burgundy": (0.36, 0.09, 0.15),
    "coral": (0.86, 0.47, 0.41),
    "pink": (0.86, 0.60, 0.64),
    "dusty rose": (0.68, 0.47, 0.48),
    "lavender": (0.69, 0.62, 0.80),
    "purple": (0.40, 0.26, 0.50),
    "plum": (0.31, 0.16, 0.28),
}
NAMES = tuple(CLOTH_COLOURS)
SUIT = ("navy", "charcoal", "black", "grey", "brown", "beige", "burgundy", "dark green", "blue")
SHIRT = ("white", "white", "light blue", "cream", "pink", "light grey", "lavender")
DENIM = ("denim blue", "denim blue", "light blue", "navy", "black", "grey", "white")
TIE = ("red", "navy", "burgundy", "dark green", "black", "mustard", "purple", "grey", "blue",
       "teal", "rust")  # fmt: skip
OUTER = tuple(n for n in NAMES if n not in ("white", "pink", "lavender", "mint", "coral"))
TOP = ("white", "white", "black", "grey", "light grey", "navy", "cream", "red", "mustard", "sage",
       "light blue", "burgundy", "dusty rose")  # fmt: skip


def contrast(one: str, other: str) -> float:
    """How far two colours are apart, 0 to about 1.5."""
    a, b = CLOTH_COLOURS[one], CLOTH_COLOURS[other]
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
