"""What is true of a picture of the pocket world, in words, and captions that say some of it: for the dual encoder.

A *fact* is a word or phrase ("forest", "red", "long-necked"). A caption is true of a picture if all of its facts are.
A picture without its object keeps the facts of the place, one without the place keeps those of the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from text import CLASS_NAMES

from ddb.discovery.vocabulary import built_in
from ddb.pocket.world import FAMILIES

ROOM = ("room", "wall")
LAWN = ("lawn", "grass", "garden")
FACE = ("face", "portrait")
PLACE_FACTS: dict[str, tuple[str, ...]] = {
    "forest": ("forest", "woods"),
    "lake": ("lake", "pond"),
    "sofa": ("sofa", *ROOM),
    "bed": ("bed", "bedroom", *ROOM),
    "shelf": ("shelf", "bookcase", *ROOM),
    "bench": ("bench", *LAWN),
    "bicycle": ("bicycle", *LAWN),
    "tree": ("tree", *LAWN),
    "round face": ("round face", "thin eyebrows", *FACE),
    "square face": ("square face", "thick eyebrows", "beard", *FACE),
}
"""What the painters of `ddb.pocket` draw in each place."""
UNASKED: dict[str, tuple[str, ...]] = {
    "forest": ("tree", "leaves", "bush", "branch", "moss", "wood", "green", "brown", "pine tree", "jungle", "grass"),
    "lake": ("sky", "clouds", "shore", "waves", "river", "sea", "ocean", "coast", "blue", "swamp"),
    **dict.fromkeys(
        ("sofa", "bed", "shelf"), ("floor", "living room", "furniture", "library", "books", "pillow", "blanket")
    ),
    **dict.fromkeys(("bench", "bicycle", "tree"), ("sky", "park", "bush", "leaves", "meadow", "green", "playground")),
    **dict.fromkeys(
        ("round face", "square face"), ("skin", "person", "shoulders", "red lips", "stubble", "shirt", "hair")
    ),
}
"""What may or may not be said of a place: no caption with one of these words is asked of its pictures."""
BENCHMARK_WORDS = ("land", "water", "indoors", "outdoors", "man", "woman", "male", "female", "indoor", "outdoor")
"""Values of the attributes of the benchmarks: they are never said of a picture, so that no attribute is learned."""
TEMPLATES = ("{}", "a {}", "a photo of {}", "a photo of {}", "a photo of a {}", "a photo with {}", "a picture of {}")


@dataclass(frozen=True)
class Caption:
    """A text and the facts that it states."""

    text: str
    facts: tuple[str, ...]


def object_facts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Noun, colour, size and parts of a row's object (`pool.py`); none where the place is empty."""
    if row["subject"] is None:
        return ()
    family = FAMILIES[row["family"]]
    subject = family.kind(**row["subject"])
    parts = [adjective for adjective, _ in family.phrases(subject).values()]
    return (family.noun, subject.colour, subject.size, *parts)


def vocabulary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All facts of the rows and all words of ddb's own vocabulary, each once. The latter are true of no picture, unless
    they are facts. AssertionError where a fact names a class or an attribute of a benchmark."""
    facts = {fact for words in PLACE_FACTS.values() for fact in words} | {f for row in rows for f in object_facts(row)}
    assert not facts & {*CLASS_NAMES, *BENCHMARK_WORDS}, facts & {*CLASS_NAMES, *BENCHMARK_WORDS}
    return sorted(facts | (set(built_in()) - set(CLASS_NAMES)))


def caption(row: Mapping[str, Any], rng: np.random.Generator) -> Caption:
    """A caption of the place, of the object or of both."""
    place = Caption(*_said(PLACE_FACTS[row["place"]], rng))
    draw = rng.random()
    if row["subject"] is None or draw < 0.35:
        return place
    thing = _object_caption(row, rng)
    if draw < 0.8:
        return thing
    word = place.facts[0]
    return Caption(f"{thing.text} {rng.choice(['in', 'with', 'beside', 'and'])} {word}", (*thing.facts, word))


def word_caption(word: str, rng: np.random.Generator) -> Caption:
    """One word in a template."""
    return Caption(*_said((word,), rng))


def _said(words: Sequence[str], rng: np.random.Generator) -> tuple[str, tuple[str]]:
    # The first word is the place's own name: as often as all others.
    word = words[0] if rng.random() < 0.5 else str(rng.choice(words))
    return str(rng.choice(TEMPLATES)).format(word), (word,)


def _object_caption(row: Mapping[str, Any], rng: np.random.Generator) -> Caption:
    """The noun, mostly with some of what is true of the object before it; or one of these words alone."""
    noun, *looks = object_facts(row)
    if rng.random() < 0.4:
        return Caption(*_said((str(rng.choice([noun, looks[0], looks[0], looks[1]])),), rng))
    chosen = [word for word in looks[:2] if rng.random() < 0.5]
    chosen += [word for word in looks[2:] if rng.random() < 0.3]
    rng.shuffle(chosen)
    words = " ".join([*chosen, noun])
    return Caption(f"a photo of {words}" if rng.random() < 0.5 else words, (noun, *chosen))
