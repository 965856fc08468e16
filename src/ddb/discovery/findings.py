"""From vectors to findings: clusters that go with a class, merged by class, named, tested against a model's errors.

One view (surroundings or object) is looked at in rounds. Each round finds clusters, tests them, and takes what it
found out of the vectors: the next round looks at what varies within the clusters, and its tests permute labels within
them. So a second shortcut is found beside the first one, and the first is not found twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ddb.config import DiscoverConfig
from ddb.discovery.association import Association, associate
from ddb.discovery.cluster import Clusters, find_clusters, without
from ddb.discovery.errors import Errors, errors_by_cell, errors_of, significant
from ddb.discovery.facts import Facts, View, Where
from ddb.discovery.naming import best_words, contrast
from ddb.learn.metrics import wilson
from ddb.learn.seeds import seed_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
ROUNDS = 3
OTHER = "other"
"""Name of the clusters that go with no class."""
REST = ("rest", 0)
"""Key of the clusters that go with nothing."""
APART = 0.01
"""Share of a class outside its own group up to which group and class say the same: clusters err on about as many."""


@dataclass(frozen=True)
class Group:
    """Clusters that go with one class. `goes_with`: its label; None: they go with the model's errors alone, or with
    nothing (`OTHER`). `words` with their cosines, the name first. `images`: training images; `shares`: share of each
    class's training images that is in the group."""

    name: str
    words: tuple[tuple[str, float], ...]
    goes_with: int | None
    clusters: tuple[int, ...]
    images: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Finding:
    """`members` [N]: number of each image's group; `sure` [N]: its probability; -1 and 0 for images that were not
    embedded. `clusters` [N]: number of each image's cluster, -1 likewise. `phi`: the largest correlation of a group
    with a class; `p`: the smallest of its clusters, corrected. `inseparable`: group and class say the same, so nothing
    in the data tells which of the two a model learns."""

    where: Where
    groups: tuple[Group, ...]
    members: Integers
    sure: Floats
    clusters: Integers
    phi: float
    p: float
    inseparable: bool
    errors: tuple[Errors, ...]


def look_at(view: View, facts: Facts, settings: DiscoverConfig, seed: int) -> list[Finding]:
    """The findings of a view, one a round; none: nothing was found."""
    rows = view.there & facts.train
    residual, strata = view.vectors.copy(), np.zeros(len(rows), np.int64)
    found: list[Finding] = []
    for number in range(ROUNDS):
        if len(np.unique(residual[rows], axis=0)) < 3:
            break
        clusters = find_clusters(residual, rows, seed_of(seed, "discover", view.where, number))
        tests = _Tests.of(clusters, view, facts, strata, seed_of(seed, "discover", "draws", number))
        by_label, by_errors = tests.with_class(settings), tests.with_errors(settings)
        if not (by_label | by_errors).any():
            break
        keys = _keys(tests.labels, by_label, by_errors)
        one = _finding(view, facts, clusters, tests.labels, strata, keys)
        names = [group.name for group in one.groups]
        found.append(replace(one, errors=errors_of(one.members, names, facts, settings.alpha, seed)))
        if one.inseparable:  # what it adds to the vectors cannot be told from what the class adds
            break
        strata = strata * clusters.count + clusters.members
        residual = without(residual, clusters.members, facts.labels, rows)
    return found


@dataclass(frozen=True)
class _Tests:
    """`labels`: clusters and classes on training images; `errors`: (cluster, class) cells, cluster by cluster, and the
    model's errors on validation images of the class; None without a model."""

    labels: Association
    errors: Association | None
    classes: int

    @classmethod
    def of(cls, clusters: Clusters, view: View, facts: Facts, strata: Integers, seed: int) -> _Tests:
        member = clusters.members[:, None] == np.arange(clusters.count)
        rows = view.there & facts.train
        labels = associate(member[rows], facts.labels[rows], strata[rows], seed)
        return cls(labels, errors_by_cell(clusters.members, clusters.count, facts, view.there, seed + 1), facts.classes)

    def with_class(self, settings: DiscoverConfig) -> Flags:
        """[K]: clusters that go with a class."""
        strong = np.abs(self.labels.phi).max(axis=1) >= settings.strength
        return np.asarray((self.labels.p <= settings.alpha) & strong)

    def with_errors(self, settings: DiscoverConfig) -> Flags:
        """[K]: clusters with more errors than the other images of some class."""
        if self.errors is None:
            return np.zeros(len(self.labels.p), np.bool_)
        cells = significant(self.errors, settings.alpha).reshape(-1, self.classes)
        return np.asarray(cells.any(axis=1))


def _keys(labels: Association, by_label: Flags, by_errors: Flags) -> list[tuple[str, int]]:
    """What each cluster is merged by: the class that it goes with; itself, where errors alone tell of it; nothing."""
    return [
        ("class", int(labels.z[k].argmax())) if by_label[k] else ("cluster", k) if by_errors[k] else REST
        for k in range(len(by_label))
    ]


def _finding(
    view: View,
    facts: Facts,
    clusters: Clusters,
    tests: Association,
    strata: Integers,
    keys: Sequence[tuple[str, int]],
) -> Finding:
    """Merge clusters of the same key, name the groups and measure them. The rest comes last."""
    parts = {key: [k for k, own in enumerate(keys) if own == key] for key in sorted(set(keys), key=_rest_last)}
    chances = np.stack([clusters.probabilities[:, part].sum(axis=1) for part in parts.values()], axis=1)
    members = chances.argmax(axis=1)
    fitted = view.there & facts.train
    groups: list[Group] = []
    for number, (key, part) in enumerate(parts.items()):
        inside = members == number
        named = key != REST and bool((inside & fitted).any())
        words = _words(view, facts, inside, strata, [group.name for group in groups]) if named else []
        name, goes_with = words[0][0] if words else OTHER, key[1] if key[0] == "class" else None
        groups.append(_group(name, words, goes_with, tuple(part), inside & fitted, facts))
    merged = members[:, None] == np.arange(sum(key != REST for key in parts))
    phi = associate(merged[fitted], facts.labels[fitted], strata[fitted], 0, draws=0).phi
    return Finding(
        where=view.where,
        groups=tuple(groups),
        members=np.where(view.seen, members, -1),
        sure=np.where(view.seen, chances.max(axis=1), 0.0),
        clusters=np.where(view.seen, clusters.members, -1),
        phi=float(np.abs(phi).max()),
        p=float(tests.p[[key != REST for key in keys]].min()),
        inseparable=_inseparable(members[fitted], facts.labels[fitted], groups),
        errors=(),
    )


def _rest_last(key: tuple[str, int]) -> tuple[bool, str, int]:
    return key == REST, *key


def _words(view: View, facts: Facts, inside: Flags, strata: Integers, taken: Sequence[str]) -> list[tuple[str, float]]:
    """Words of a group, from its training images against the others of the same class; without names of other
    groups."""
    rows = view.there & facts.train
    cells = strata * facts.classes + facts.labels
    direction = contrast(view.vectors[rows], inside[rows], cells[rows])
    free = [index for index, word in enumerate(facts.words) if word not in taken]
    return best_words(direction, [facts.words[index] for index in free], facts.texts[free])


def _group(
    name: str,
    words: list[tuple[str, float]],
    goes_with: int | None,
    part: tuple[int, ...],
    inside: Flags,
    facts: Facts,
) -> Group:
    totals = np.bincount(facts.labels[facts.train])
    own = np.bincount(facts.labels[inside], minlength=len(totals))
    shares = tuple(float(a / max(b, 1)) for a, b in zip(own, totals, strict=True))
    return Group(name, tuple(words), goes_with, part, int(inside.sum()), shares)


def _inseparable(members: Integers, labels: Integers, groups: Sequence[Group]) -> bool:
    """Whether nearly all images of each class are in the group that goes with it: the share of the others may be
    `APART` by its 95% Wilson interval, so that one stray image of a small class does not count as evidence."""
    own = {group.goes_with: number for number, group in enumerate(groups) if group.goes_with is not None}
    for label in np.unique(labels).tolist():
        outside = members[labels == label] != own.get(label, -1)
        if wilson(int(outside.sum()), len(outside))[0] > APART:
            return False
    return True
