"""Short descriptions of a person for the prior: what users type, not what a catalogue says.

The avatar factory writes a person's captions in full. People ask for "an old man with glasses": one
to three things, the rest left open. Such phrases are made here of the attributes in the shards, so
that a prior learns what a single word means: of all people who have it, whatever else they have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

COUNT = 10  # phrases a person
_AN = re.compile(r"\ba (?=[aeiou])")
_STYLES: dict[str, tuple[str, ...]] = {
    "bald": ("a bald head", "no hair at all"),
    "horseshoe": ("a bald top", "hair at the sides only"),
    "curly": ("{c} curls", "curly {c} hair"),
    "coily": ("coily {c} hair", "short curly {c} hair"),
    "ringlets": ("{c} ringlets", "long curly {c} hair"),
    "afro": ("a {c} afro", "big curly {c} hair"),
    "cornrows": ("{c} cornrows", "braided {c} hair"),
    "locs": ("{c} dreadlocks", "{c} locs"),
    "braids": ("{c} braids", "braided {c} hair"),
    "long": ("long {c} hair", "long straight {c} hair"),
    "wavy": ("wavy {c} hair", "long wavy {c} hair"),
    "bob": ("a {c} bob", "chin-length {c} hair"),
    "lob": ("a long {c} bob", "shoulder-length {c} hair"),
    "ponytail": ("a {c} ponytail", "{c} hair tied back"),
    "pigtails": ("{c} pigtails", "{c} bunches"),
    "bun": ("a {c} bun", "{c} hair in a bun"),
    "topknot": ("a {c} topknot", "{c} hair tied up"),
    "spacebuns": ("{c} space buns", "two {c} buns"),
    "mohawk": ("a {c} mohawk",),
    "quiff": ("a {c} quiff", "short {c} hair"),
    "buzz": ("a {c} buzz cut", "very short {c} hair"),
    "pixie": ("a {c} pixie cut", "short {c} hair"),
}
_LOOKS = {
    "smile": ("smiling", "with a smile"), "laugh": ("laughing", "with a big laugh"),
    "slight smile": ("smiling a little", "with a faint smile"),
    "open smile": ("smiling", "with a wide smile"),
    "neutral": ("with a neutral face", "with a calm look"), "sad": ("sad", "looking sad"),
    "angry": ("angry", "looking angry"), "surprised": ("surprised", "with an open mouth"),
    "shouting": ("shouting", "with an open mouth"), "fear": ("afraid", "looking frightened"),
    "eyes closed": ("with closed eyes", "sleeping"), "speaking": ("talking", "speaking"),
    "tongue out": ("sticking the tongue out",), "wink": ("winking",), "kiss": ("giving a kiss",),
}  # fmt: skip
_CLOTHES = {
    "vneck": ("V-neck shirt", "T-shirt"), "tshirt": ("T-shirt", "tee"), "tank": ("tank top",),
    "bomber": ("bomber jacket", "jacket"), "denim_jacket": ("denim jacket", "jacket"),
    "blazer": ("blazer", "jacket"), "suit": ("suit", "jacket"), "shirt": ("shirt", "button-up"),
    "boatneck": ("boat-neck top", "top"), "offshoulder": ("off-shoulder top", "top"),
    "camisole": ("camisole", "top with thin straps"), "polo": ("polo shirt", "polo"),
    "sweater": ("sweater", "jumper"), "turtleneck": ("turtleneck", "roll-neck sweater"),
}  # fmt: skip


def _one(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _who(of: Mapping[str, Any], rng: np.random.Generator) -> str:
    noun, years = str(of["gender"]), float(of["years"])
    if rng.random() < 0.3:
        noun = "person"
    if years < 20:
        young = {"man": "boy", "woman": "girl"}.get(noun, "teenager")
        return _one(rng, (f"teenage {noun}", f"young {noun}", young))
    for limit, words in ((35, ("young {n}",)), (60, ("middle-aged {n}", "grown-up {n}"))):
        if years < limit:
            return _one(rng, words).format(n=noun)
    return _one(rng, ("old {n}", "elderly {n}")).format(n=noun)


def _hair(of: Mapping[str, Any], rng: np.random.Generator) -> str:
    style, colour = str(of["hair_style"]), str(of["hair_colour"])
    colour = colour.partition(" to ")[0]
    if style in ("bald", "horseshoe"):
        return _one(rng, _STYLES[style])
    if rng.random() < 0.4:
        return f"{colour} hair"
    return _one(rng, _STYLES.get(style, ("short {c} hair",))).format(c=colour)


def _things(of: Mapping[str, Any], rng: np.random.Generator) -> list[str]:
    """One phrase for each thing that may be said; each reads after "a person"."""
    found = [f"with {of['skin_tone']} skin"]
    if of["headwear"] not in ("hijab", "turban"):
        found.append(f"with {_hair(of, rng)}")
    beard, colour = str(of["beard"]), str(of["hair_colour"]).partition(" to ")[0]
    if beard not in ("none", "stubble"):
        found.append(_one(rng, ("with a beard", "bearded", f"with a {colour} beard")))
    elif of["gender"] == "man":
        found.append(_one(rng, ("without a beard", "clean-shaven", "with no facial hair")))
    if of["glasses"] == "none":
        found.append(_one(rng, ("without glasses", "not wearing glasses")))
    else:
        dark = of["lenses"] != "clear"
        kinds = ("sunglasses", "dark glasses") if dark else ("glasses", f"{of['glasses']} glasses")
        found.append(_one(rng, ("with {k}", "wearing {k}")).format(k=_one(rng, kinds)))
    worn = str(of["headwear"])
    if worn == "none":
        found.append(_one(rng, ("without a hat", "bareheaded")))
    else:
        hat = worn not in ("headphones", "headband", "hijab", "turban")
        kinds = (worn, f"{of['headwear_colour']} {worn}", *(("hat",) if hat else ()))
        article = "" if worn == "headphones" else "a "
        found.append(f"{_one(rng, ('with', 'wearing'))} {article}{_one(rng, kinds)}")
    name = _one(rng, _CLOTHES.get(str(of["garment"]), (str(of["garment"]).replace("_", " "),)))
    tinted = f"{of['garment_colour']} {name}" if rng.random() < 0.7 else name
    found.append(f"{_one(rng, ('in', 'wearing'))} a {tinted}")
    look = str(of["expression"])
    found.append(_one(rng, _LOOKS.get(look, (f"with a {look} look",))))
    return found


def phrases(attributes: Mapping[str, Any], seed: int) -> list[str]:
    """COUNT descriptions of one to three things each; [] where the columns are not there.

    All are true of the person; the same arguments give the same phrases.
    """
    rng = np.random.default_rng([seed, 0x7E47])
    try:
        made = [str(attributes["gender"])]
        order = rng.permutation(len(_things(attributes, np.random.default_rng(0))))
        for i in range(COUNT - 1):
            things = _things(attributes, rng)
            # first one thing at a time, another each time; then two or three together
            count = 1 if i < 5 else int(rng.integers(2, 4))
            chosen = order[i : i + 1] if i < 5 else rng.permutation(len(things))[:count]
            picked = ", ".join(things[j] for j in chosen)
            made.append(f"{_who(attributes, rng) if i >= 3 else 'person'} {picked}")
    except KeyError:
        return []
    return [_AN.sub("an ", f"a {words}") for words in made]
