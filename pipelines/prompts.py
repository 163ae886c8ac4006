"""Texts that a model is asked about: for each attribute, what its classes are called, and edits.

The edits are also the viewer's sliders.
"""

from __future__ import annotations

# group of `pipelines.attributes` -> class -> text
TEXTS: dict[str, dict[str, str]] = {
    "sex": {"man": "a portrait of a man", "woman": "a portrait of a woman"},
    "age": {
        "young": "a young person",
        "middle-aged": "a middle-aged person",
        "old": "an old person with wrinkles",
    },
    "skin": {
        "light": "a person with very fair skin",
        "medium": "a person with tan skin",
        "dark": "a person with deep dark brown skin",
    },
    "hair length": {
        "bald": "a bald man with no hair",
        "short": "a person with short hair",
        "long": "a person with long straight hair",
    },
    "hair colour": {
        "dark": "a person with black hair",
        "blond": "a person with blond hair",
        "grey": "a person with grey hair",
        "red": "a person with red hair",
        "dyed": "a person with green hair",
    },
    "beard": {"no": "a man without a beard", "yes": "a man with a full beard"},
    "glasses": {"no": "a person without glasses", "yes": "a person wearing round glasses"},
    "hat": {"no": "a person without a hat", "yes": "a person wearing a bucket hat"},
    "garment": {
        "collar": "a person wearing a collared shirt",
        "jacket or hoodie": "a person wearing a bomber jacket",
        "top": "a person wearing a V-neck T-shirt",
    },
    "expression": {
        "neutral": "a person with a neutral face",
        "smiling": "a person with a wide open smile",
        "other": "a person looking surprised with an open mouth",
    },
}
# group -> class -> more of what people call it, beside its text above
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {"man": ("a man", "male", "more masculine"), "woman": ("a woman", "female", "feminine")},
    "age": {
        "young": ("young", "younger", "make them younger"),
        "middle-aged": ("middle-aged", "in their forties"),
        "old": ("old", "older", "elderly", "make them older"),
    },
    "skin": {
        "light": ("with fair skin", "pale", "with light skin"),
        "medium": ("with tan skin", "with olive skin"),
        "dark": ("with dark skin", "with brown skin", "black"),
    },
    "hair length": {
        "bald": ("bald", "with no hair", "with a bald head", "with a shaved head"),
        "short": ("with short hair", "with a buzz cut", "with a crew cut"),
        "long": ("with long hair", "long-haired", "with shoulder-length hair"),
    },
    "hair colour": {
        "dark": ("with black hair", "with dark hair", "with brown hair"),
        "blond": ("with blond hair", "blonde", "fair-haired"),
        "grey": ("with grey hair", "with white hair", "grey-haired"),
        "red": ("with red hair", "red-haired", "ginger", "with copper hair"),
        "dyed": ("with blue hair", "with pink hair", "with purple hair", "with dyed hair"),
    },
    "beard": {
        "no": ("without a beard", "clean-shaven", "with no facial hair", "shave off the beard"),
        "yes": (
            "with a full beard",
            "a grey beard",
            "a black beard",
            "bearded",
            "with a moustache",
        ),
    },
    "glasses": {
        "no": ("without glasses", "not wearing glasses", "take off the glasses"),
        "yes": ("wearing glasses", "with glasses", "with sunglasses", "wearing sunglasses"),
    },
    "hat": {
        "no": ("without a hat", "bareheaded", "take off the hat"),
        "yes": ("wearing a hat", "with a hat", "wearing a cap", "in a beanie"),
    },
    "garment": {
        "collar": ("in a shirt", "wearing a button-up shirt", "in a polo shirt"),
        "jacket or hoodie": ("in a hoodie", "in a jacket", "wearing a suit"),
        "top": ("in a T-shirt", "wearing a sweater", "in a tank top"),
    },
    "expression": {
        "neutral": ("with a neutral face", "not smiling", "with a calm look"),
        "smiling": ("with a wide open smile", "smiling", "with a smile", "laughing", "happy"),
        "other": ("angry", "surprised", "with an open mouth", "sad"),
    },
}
COLOURS = ("black", "grey", "white", "brown", "red", "pink", "yellow", "green", "blue", "purple")
WORDS["clothes"] = {
    colour: tuple(
        f"{said} {colour} {what}"
        for said, what in (
            ("in a", "top"),
            ("wearing", "clothes"),
            ("a", "jacket"),
            ("a", "sweater"),
        )
    )
    for colour in COLOURS
}
# label of an edit -> group, class that it leads to, text
EDITS: dict[str, tuple[str, str, str]] = {
    "Age": ("age", "old", "an old person with wrinkles"),
    "Beard": ("beard", "yes", "with a full beard"),
    "Blond hair": ("hair colour", "blond", "with blond hair"),
    "Glasses": ("glasses", "yes", "wearing glasses"),
    "Hat": ("hat", "yes", "wearing a hat"),
    "Long hair": ("hair length", "long", "with long hair"),
    "Smile": ("expression", "smiling", "with a wide open smile"),
}
SHOWN: tuple[str, ...] = (
    "young woman with curly red hair and a green hoodie",
    "old man with a grey beard and round glasses",
    "bald man with dark skin in a white T-shirt",
    "woman with long blond hair in a red sweater",
    "young man with black hair in a blue suit, smiling",
    "middle-aged woman with a hat and sunglasses",
)
