"""Findings on made vectors: one shortcut, two at once, none, one that is the class, and a model's errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ddb.config import DiscoverConfig
from ddb.discovery import findings
from ddb.discovery.facts import UNKNOWN, Facts, View
from ddb.discovery.findings import Finding, Group, look_at

WORDS = ("forest", "lake", "sunlight", "fog")
SIZE = 400


def correlated(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < share, labels, 1 - labels)


def world(
    place: float = 0.9, light: float = 0.5, strength: float = 0.4, wrong: Any = None
) -> tuple[View, Facts, np.ndarray, np.ndarray]:
    """Vectors along two axes of words: the place (0 forest, 1 lake), which is the stronger one, and the light (0
    sunlight, 1 fog); both go with the class to these shares. The second half of the images is for validation."""
    rng = np.random.default_rng(9)
    labels = np.arange(2 * SIZE) % 2
    places, lights = correlated(labels, place, 1), correlated(labels, light, 2)
    axes = np.eye(8)
    vectors = axes[places] + strength * axes[2 + lights] + 0.1 * rng.standard_normal((2 * SIZE, 8))
    train = np.arange(2 * SIZE) < SIZE
    errors = np.full(2 * SIZE, UNKNOWN) if wrong is None else np.where(train, UNKNOWN, wrong(labels, places))
    facts = Facts(labels, 2, train, errors, WORDS, axes[:4].astype(np.float32))
    there = np.ones(2 * SIZE, bool)
    return View("surroundings", vectors.astype(np.float32), there, there), facts, places, lights


def look(view: View, facts: Facts, seed: int = 0) -> list[Finding]:
    return look_at(view, facts, DiscoverConfig(), seed)


def names(finding: Finding) -> set[str]:
    return {group.name for group in finding.groups}


def test_a_shortcut_is_found_and_named() -> None:
    view, facts, places, _ = world()
    (found,) = look(view, facts)
    assert [group.name for group in sorted(found.groups, key=lambda group: group.goes_with)] == ["forest", "lake"]
    own = {group.name: number for number, group in enumerate(found.groups)}
    assert np.mean(found.members == np.where(places == 0, own["forest"], own["lake"])) > 0.99
    assert found.p < 0.01 and 0.7 < found.phi < 0.9
    assert not found.inseparable and not found.errors
    lake = found.groups[own["lake"]]
    assert lake.shares == pytest.approx((0.1, 0.9), abs=0.05)
    assert lake.images == pytest.approx(SIZE / 2, abs=20)


def test_two_shortcuts_at_once_are_both_found() -> None:
    found = look(*world(0.9, 0.85)[:2])
    assert [names(one) for one in found] == [{"forest", "lake"}, {"sunlight", "fog"}]


def test_the_first_is_not_found_a_second_time() -> None:
    assert len(look(*world(0.95, 0.5)[:2])) == 1


def test_nothing_is_found_where_nothing_is() -> None:
    assert [look(*world(0.5, 0.5)[:2], seed=seed) for seed in range(5)] == [[]] * 5


@pytest.mark.parametrize(
    ("strays", "images", "inseparable"),
    [(0, 400, True), (1, 75, True), (2, 75, True), (4, 75, False), (20, 400, False), (4, 400, True)],
)
def test_as_many_images_as_clusters_err_on_are_no_evidence(strays: int, images: int, inseparable: bool) -> None:
    """Of a class, `strays` of `images` lie in the other's group: the lower end of Wilson's interval against 1%."""
    labels = np.repeat([0, 1], [images, 300])
    members = labels.copy()
    members[:strays] = 1
    groups = [Group(name, (), label, (label,), 0, ()) for label, name in enumerate(("a", "b"))]
    assert findings._inseparable(members, labels, groups) == inseparable


def test_surroundings_that_are_the_class_are_inseparable_from_it() -> None:
    (found,) = look(*world(1.0)[:2])
    assert found.inseparable
    assert names(found) == {"forest", "lake"}
    assert not look(*world(0.95)[:2])[0].inseparable


def test_a_models_errors_are_told_by_group() -> None:
    def by_place(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
        return (places != labels).astype(int)

    (found,) = look(*world(0.8, wrong=by_place)[:2])
    told = {(one.group, one.label): (one.wrong, one.elsewhere) for one in found.errors}
    assert set(told) == {("lake", 0), ("forest", 1)}
    assert all(wrong > 0.95 and elsewhere < 0.05 for wrong, elsewhere in told.values())


def test_errors_alone_bring_a_finding() -> None:
    """The model leans on the place, this data does not."""

    def on_lakes(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
        return ((labels == 0) & (places == 1)).astype(int)

    (found,) = look(*world(0.5, wrong=on_lakes)[:2])
    assert {(one.group, one.label) for one in found.errors} == {("lake", 0)}


def test_images_without_an_object_are_assigned_and_do_not_count() -> None:
    view, facts, places, _ = world()
    there = np.arange(2 * SIZE) % 5 > 0
    (found,) = look(View("surroundings", view.vectors, view.seen, there), facts)
    assert (found.members >= 0).all()
    assert sum(group.images for group in found.groups) == int((there & facts.train).sum())
    (hidden,) = look(View("object", view.vectors, there, there), facts)
    assert set(hidden.members[~there].tolist()) == {-1}


def test_the_same_seed_gives_the_same_finding() -> None:
    view, facts, _, _ = world()
    first, second = look(view, facts), look(view, facts)
    assert first[0].groups == second[0].groups
    assert np.array_equal(first[0].members, second[0].members)
