"""What a pixel shows: the segmentation's classes, by name and number (no Blender needed)."""

from __future__ import annotations

# Numbers are part of the shards' format: append, never renumber. An object carries its number in
# `pass_index`; lips and the inside of the mouth are told apart on the skin by point attributes.
LABELS: dict[str, int] = {
    "background": 0, "skin": 1, "lips": 2, "mouth": 3, "teeth": 4, "tongue": 5, "eyes": 6,
    "lashes": 7, "brows": 8, "hair": 9, "facial_hair": 10, "clothes": 11, "glasses": 12,
    "headwear": 13, "earrings": 14, "necklace": 15, "headphones": 16, "hair_tie": 17,
    "piercing": 18,
}  # fmt: skip
