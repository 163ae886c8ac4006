"""Steps of labels: each its own part, of latents in which labels go together."""

from __future__ import annotations

import json

import numpy as np
import torch

from pipelines import attributes, traits
from pipelines.prompts import COLOURS, EDITS, TEXTS, WORDS

MAN, BEARD, NOISE = range(3)  # numbers of the latent, and what they say


def people(count: int = 300) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Latents of people of whom only men, and half of those, have beards."""
    rng = np.random.default_rng(0)
    man = rng.random(count) < 0.5
    beard = man & (rng.random(count) < 0.5)
    latents = rng.normal(0, 0.3, (count, 3))
    latents[:, MAN] += man
    latents[:, BEARD] += beard
    latents[:, NOISE] *= 40  # a large number that says nothing
    known = [
        {"sex": "man" if m else "woman", "beard": "yes" if b else "no", "hat": "no"}
        for m, b in zip(man, beard, strict=True)
    ]
    return torch.from_numpy(latents).float(), known


def test_a_beard_does_not_make_a_man() -> None:
    latents, known = people()
    std = latents.std(0)
    found = traits.measure(latents, known)
    assert set(found) == {"sex: man", "sex: woman", "beard: yes", "beard: no"}, "hats are all alike"
    step = torch.tensor(found["beard: yes"]["step"]) / std
    assert abs(float(step.norm()) - traits.LENGTH) < 0.05
    assert step[BEARD] > 0.9 * step.norm() and abs(step[MAN]) < 0.35 * step[BEARD]
    # What a difference of means, which knows one label at a time, takes for a beard.
    has = torch.tensor([one["beard"] == "yes" for one in known])
    naive = (latents[has].mean(0) - latents[~has].mean(0)) / std
    assert naive[MAN] > 0.5 * naive[BEARD]
    back = torch.tensor(found["beard: no"]["step"]) / std
    assert torch.allclose(back, -step, atol=1e-3)
    assert json.loads(json.dumps(found)) == found
    assert found["beard: yes"]["texts"][0] == TEXTS["beard"]["yes"]


def test_rare_classes_and_people_without_labels_have_no_step() -> None:
    latents, known = people(60)
    for one in known[: attributes.LEAST - 1]:
        one["hat"] = "yes"
    assert not any(name.startswith("hat") for name in traits.measure(latents, known))
    known[attributes.LEAST]["hat"] = "yes"
    assert "hat: yes" in traits.measure(latents, known)
    assert traits.measure(latents, [{}] * 60) == {}


def test_every_class_that_texts_name_has_words_of_its_own() -> None:
    named = {g: set(k) for g, k in TEXTS.items()} | {"clothes": set(COLOURS)}
    assert {g: set(kinds) for g, kinds in WORDS.items()} == named
    said = [text for kinds in WORDS.values() for texts in kinds.values() for text in texts]
    assert len(said) == len(set(said))
    for group, kind, text in EDITS.values():
        assert text in (TEXTS[group][kind], *WORDS[group][kind]), "the sliders are known by name"


def test_clothes_are_known_by_their_colour() -> None:
    from blender.spec import sample_spec

    labels = sample_spec(0).attributes()
    assert traits.classes({**labels, "garment_colour": "navy"})["clothes"] == "blue"
    assert traits.classes({**labels, "garment_colour": "red"})["clothes"] == "red"
    assert "clothes" not in traits.classes({**labels, "garment_colour": "orange"})
    assert traits.classes({"garment_colour": "red"}) == {}, "no columns of ours"
    latents, known = people(60)
    for i, one in enumerate(known):
        one["clothes"] = ("red", "green")[i % 2]
    found = traits.measure(latents, known)
    assert found["clothes: red"]["texts"] == list(WORDS["clothes"]["red"])
