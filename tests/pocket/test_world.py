"""The renderer: images agree with their scenes, masks and captions."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ddb.pocket import animals, birds, hair
from ddb.pocket.world import FAMILIES, PHRASES, PLACES, Scene, caption, counterfactual_scene, render, sample_scene

COLOURS = {"bird": birds.COLOURS, "animal": animals.COLOURS, "hair": hair.COLOURS}
every_family = pytest.mark.parametrize("family", list(FAMILIES))


def scenes(count: int, seed: int = 0, **fixed: object) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **fixed) for _ in range(count)]  # type: ignore[arg-type]


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its eight neighbours: pixels that the subject covers in part, below the mask's threshold."""
    padded = np.pad(mask, 1)
    return np.any([padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)], axis=0)


@every_family
def test_an_image_takes_at_most_five_milliseconds(family: str) -> None:
    drawn = scenes(60, family=family)
    render(drawn[0])
    times = []
    for scene in drawn:
        start = time.process_time()
        render(scene)
        times.append(time.process_time() - start)
    assert np.quantile(times, 0.1) <= 0.005, "the quick ones: others are slowed by processes beside this one"


@pytest.mark.parametrize("size", [32, 64, 96])
def test_images_have_the_size_that_was_asked_for(size: int) -> None:
    picture = render(scenes(1)[0], size)
    assert picture.image.shape == (size, size, 3) and picture.image.dtype == np.uint8
    assert picture.mask.shape == (size, size) and picture.mask.dtype == np.bool_


@every_family
def test_the_same_scene_gives_the_same_pixels_and_another_seed_other_scenes(family: str) -> None:
    for first, again in zip(scenes(5, family=family), scenes(5, family=family), strict=True):
        assert first == again
        assert np.array_equal(render(first).image, render(again).image)
    assert scenes(5, family=family) != scenes(5, seed=1, family=family)


@every_family
def test_the_mask_is_where_the_subject_changes_the_empty_place(family: str) -> None:
    for scene in [scene for plan in FAMILIES[family].plans for scene in scenes(40, family=family, plan=plan)]:
        picture, empty = render(scene), render(replace(scene, subject=None))
        changed = np.any(picture.image != empty.image, axis=2)
        assert not empty.mask.any()
        assert not np.any(changed & ~grown(picture.mask)), "a change outside the mask"
        assert np.mean(changed[picture.mask]) > 0.9, "masked pixels that show the place"


@every_family
def test_subjects_leave_background_on_every_side(family: str) -> None:
    for scene in scenes(100, family=family):
        mask = render(scene).mask
        assert 0.03 < mask.mean() < 0.5
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


@every_family
def test_a_counterfactual_keeps_every_pixel_outside_both_subjects(family: str) -> None:
    rng = np.random.default_rng(3)
    before_plan, after_plan = FAMILIES[family].plans
    for scene in scenes(30, family=family, plan=before_plan):
        other = counterfactual_scene(scene, rng, after_plan)
        before, after = render(scene), render(other)
        outside = ~grown(before.mask | after.mask)
        assert outside.mean() > 0.2
        assert np.array_equal(before.image[outside], after.image[outside])
        assert not np.array_equal(before.image, after.image)


@pytest.mark.parametrize(("module", "sample"), [(birds, birds.sample_bird), (animals, animals.sample_animal)])
def test_body_plans_differ_in_every_part_and_in_nothing_else(module: Any, sample: Any) -> None:
    rng = np.random.default_rng(0)
    first, second = module.PLANS
    drawn = {plan: [sample(rng, plan) for _ in range(400)] for plan in module.PLANS}
    for part, ranges in module.PART_RANGES.items():
        low, high = sorted(ranges)
        assert low[1] < high[0], f"{part}: the ranges overlap"
        for plan, (smallest, largest) in zip((first, second), ranges, strict=True):
            assert all(smallest <= getattr(one, part) <= largest for one in drawn[plan]), (plan, part)
    for trait, values in (("colour", module.COLOURS), ("size", module.SIZES)):
        shares = {p: [np.mean([getattr(b, trait) == v for b in drawn[p]]) for v in values] for p in module.PLANS}
        # 400 of a plan: four standard errors of a difference of shares are at most 0.14
        assert np.allclose(shares[first], shares[second], atol=0.14), trait


def test_the_classes_of_hair_differ_in_colour_and_in_nothing_else() -> None:
    rng = np.random.default_rng(0)
    drawn = {plan: [hair.sample_hair(rng, plan) for _ in range(400)] for plan in hair.PLANS}
    assert {one.colour for one in drawn["blond"]} == {"golden"}
    assert {one.colour for one in drawn["dark"]} == {"black", "brown", "grey", "auburn"}
    for size in hair.SIZES:
        shares = [np.mean([one.size == size for one in heads]) for heads in drawn.values()]
        assert abs(shares[0] - shares[1]) < 0.14
    for trait in ("volume", "has_fringe", "is_wavy"):
        means = [np.mean([getattr(one, trait) for one in heads]) for heads in drawn.values()]
        assert abs(means[0] - means[1]) < 0.25


def test_chimeras_mix_parts() -> None:
    rng = np.random.default_rng(0)
    drawn = [birds.sample_bird(rng) for _ in range(300)]
    assert len({(b.neck_is_long, b.bill_is_flat, b.legs_are_long, b.body_is_boat) for b in drawn}) == 16
    mixed = [animals.sample_animal(rng) for _ in range(300)]
    assert len({(a.ears_hang, a.muzzle_is_long, a.tail_is_short, a.body_is_stocky) for a in mixed}) == 16


FORBIDDEN = {"bird": ("landbird", "waterbird"), "animal": ("cat", "dog"), "hair": ("blond", "male", "man", "woman")}
NAMED = {
    "bird": ("long neck", "short-necked", "flat bill", "long legs", "round body", "red", "small", "in a forest"),
    "animal": ("pointed ears", "flop-eared", "long muzzle", "short tail", "stocky", "ginger", "small", "beside a sofa"),
    "hair": ("golden", "black", "long", "waves", "fringe", "around a square face", "around a round face"),
}


@every_family
def test_captions_name_parts_and_never_a_class(family: str) -> None:
    rng = np.random.default_rng(0)
    shown = scenes(600, family=family) + scenes(50, family=family, empty=True)
    for plan in FAMILIES[family].plans:
        shown += scenes(100, family=family, plan=plan)
    texts = [caption(scene, rng) for scene in shown]
    words = {word for text in texts for word in text.replace(",", " ").split()}
    assert not words & set(FORBIDDEN[family])
    assert all(text.startswith("a photo of ") for text in texts)
    assert all(name in " ".join(texts) for name in NAMED[family])


@every_family
def test_captions_are_true(family: str) -> None:
    rng = np.random.default_rng(1)
    for scene in scenes(300, family=family):
        text, subject = caption(scene, rng), scene.subject
        assert subject is not None
        assert all(colour not in text.split() for colour in COLOURS[family] if colour != subject.colour)
        assert all(phrase not in text for place, phrase in PHRASES.items() if place != scene.place)


def test_captions_of_a_part_are_true() -> None:
    rng = np.random.default_rng(1)
    for scene in scenes(300):
        text = caption(scene, rng)
        assert ("long neck" in text or "long-necked" in text) <= scene.subject.neck_is_long  # type: ignore[union-attr]
    for scene in scenes(300, family="animal"):
        text = caption(scene, rng)
        assert ("hanging ears" in text or "flop-eared" in text) <= scene.subject.ears_hang  # type: ignore[union-attr]


def test_a_or_an() -> None:
    rng = np.random.default_rng(2)
    texts = [caption(scene, rng) for name in FAMILIES for scene in scenes(300, family=name)]
    assert not [text for text in texts if re.search(r" a [aeiou]| an [^aeiou]", text)]
    assert not [text for text in texts if re.search(r"of an? .*hair", text)]


@pytest.mark.parametrize("place", ["forest", "lake"])
def test_places_look_unlike_each_other(place: str) -> None:
    """Water is bluer than green, a forest greener than blue: the shortcut is there to be found."""
    means = np.mean([render(s).image.mean(axis=(0, 1)) for s in scenes(20, place=place, empty=True)], axis=0)
    assert (means[2] > means[1]) == (place == "lake")


def test_every_place_belongs_to_one_family_and_looks_unlike_the_others() -> None:
    """The mean pictures of two places differ by more than those of two draws of one place do."""
    assert sorted(place for family in FAMILIES.values() for place in family.places) == sorted(PLACES)
    for name, family in FAMILIES.items():
        halves = {
            place: [
                np.mean([render(s).image for s in scenes(30, seed, family=name, place=place, empty=True)], axis=0)
                for seed in (0, 1)
            ]
            for place in family.places
        }
        within = max(np.abs(a - b).mean() for a, b in halves.values())
        for place, (mean, _) in halves.items():
            others = [np.abs(mean - other).mean() for name_, (other, _) in halves.items() if name_ != place]
            assert min(others) > within, place
