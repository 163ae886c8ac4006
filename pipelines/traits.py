"""What latents say of what people are labelled with: the steps that edits take.

A sentence alone moves what goes with it as well: people with beards are men, and older. Here
latents are explained by all labels at once, so that each label's part is its own.

Legend: N people, D latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pipelines import attributes, prompts
from rodin.prior import measure_latents

# name in the avatar factory -> what people call it; the others bear the name of their colour
_SHADES = {
    "charcoal": "black", "light grey": "grey", "cream": "white", "tan": "brown", "beige": "brown",
    "burgundy": "red", "rust": "red", "coral": "red", "dusty rose": "pink", "mustard": "yellow",
    "dark green": "green", "olive": "green", "sage": "green", "mint": "green", "navy": "blue",
    "light blue": "blue", "denim blue": "blue", "teal": "blue", "turquoise": "blue",
    "lavender": "purple", "plum": "purple",
}  # fmt: skip
LENGTH = 2.4  # of a step, in deviations of the latents: other attributes stay (docs/model_card.md)
_SHRINK = 30.0  # people: a class of so many counts half


def classes(labels: Mapping[str, Any]) -> dict[str, str]:
    """The person's class in each group of `attributes`, and the colour of what is worn; {} where
    the data set has no such columns."""
    found = attributes.classes(labels)
    name = str(labels.get("garment_colour", ""))
    colour = _SHADES.get(name, name)
    return found | {"clothes": colour} if found and colour in prompts.COLOURS else found


def measure(latents: Tensor, known: Sequence[Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Trait ("glasses: yes") -> {"texts", "step"}: its words, and (D,) from those without to it.

    Of latents (N, D) and the people's `classes`. Classes of fewer than
    `attributes.LEAST` people, and groups with a single class, have no step.
    """
    from sklearn.linear_model import Ridge

    pairs = [
        (group, kind)
        for group in (*attributes.GROUPS, "clothes")
        for kind in sorted({one[group] for one in known if group in one})
        if sum(one.get(group) == kind for one in known) >= attributes.LEAST
    ]
    has = np.array([[float(one.get(group) == kind) for group, kind in pairs] for one in known])
    if not pairs:
        return {}
    share = has.mean(0)
    mean, std = (x.double().numpy() for x in measure_latents(latents))
    model = Ridge(_SHRINK, fit_intercept=False)
    parts = model.fit(has - share, (latents.double().numpy() - mean) / std).coef_.T
    found = {}
    for i, (group, kind) in enumerate(pairs):
        others = [j for j, (other, _) in enumerate(pairs) if other == group and j != i]
        words = _words(group, kind)
        if not others or not words:
            continue
        step = parts[i] - np.average(parts[others], axis=0, weights=share[others])
        size = float(np.linalg.norm(step))
        if size > 0:
            scaled = step * std * LENGTH / size
            found[f"{group}: {kind}"] = {"texts": words, "step": [round(x, 5) for x in scaled]}
    return found


def _words(group: str, kind: str) -> list[str]:
    texts = [prompts.TEXTS[group][kind]] if kind in prompts.TEXTS.get(group, {}) else []
    return texts + list(prompts.WORDS.get(group, {}).get(kind, ()))
