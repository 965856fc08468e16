"""The renderer: what it draws is what it says."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from ddb.pocket.birds import COLOURS, PART_RANGES, PLANS, SIZES, sample_bird
from ddb.pocket.places import PLACES
from ddb.pocket.world import Scene, caption, counterfactual_scene, render, sample_scene


def scenes(count: int, seed: int = 0, **fixed: object) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **fixed) for _ in range(count)]  # type: ignore[arg-type]


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its eight neighbours: pixels that the subject covers in part, below the mask's threshold."""
    padded = np.pad(mask, 1)
    return np.any([padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)], axis=0)


def test_an_image_takes_at_most_five_milliseconds() -> None:
    drawn = scenes(60)
    render(drawn[0])
    times = []
    for scene in drawn:
        start = time.process_time()
        render(scene)
        times.append(time.process_time() - start)
    assert np.median(times) <= 0.005


@pytest.mark.parametrize("size", [32, 64, 96])
def test_images_have_the_size_that_was_asked_for(size: int) -> None:
    picture = render(scenes(1)[0], size)
    assert picture.image.shape == (size, size, 3) and picture.image.dtype == np.uint8
    assert picture.mask.shape == (size, size) and picture.mask.dtype == np.bool_


def test_the_same_scene_gives_the_same_pixels_and_another_seed_other_scenes() -> None:
    for first, again in zip(scenes(5), scenes(5), strict=True):
        assert first == again
        assert np.array_equal(render(first).image, render(again).image)
    assert scenes(5) != scenes(5, seed=1)


def test_the_mask_is_where_the_subject_changes_the_empty_place() -> None:
    for scene in scenes(40, plan="landbird") + scenes(40, plan="waterbird"):
        picture, empty = render(scene), render(replace(scene, subject=None))
        changed = np.any(picture.image != empty.image, axis=2)
        assert not empty.mask.any()
        assert not np.any(changed & ~grown(picture.mask)), "a change outside the mask"
        assert np.mean(changed[picture.mask]) > 0.95, "masked pixels that show the place"


def test_subjects_leave_background_on_every_side() -> None:
    for scene in scenes(100):
        mask = render(scene).mask
        assert 0.03 < mask.mean() < 0.5
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_a_counterfactual_keeps_every_pixel_outside_both_subjects() -> None:
    rng = np.random.default_rng(3)
    for scene in scenes(30, plan="landbird"):
        other = counterfactual_scene(scene, rng, "waterbird")
        before, after = render(scene), render(other)
        outside = ~grown(before.mask | after.mask)
        assert outside.mean() > 0.2
        assert np.array_equal(before.image[outside], after.image[outside])
        assert not np.array_equal(before.mask, after.mask)


def test_body_plans_differ_in_every_part_and_in_nothing_else() -> None:
    rng = np.random.default_rng(0)
    birds = {plan: [sample_bird(rng, plan) for _ in range(400)] for plan in PLANS}
    for part, (short, long) in PART_RANGES.items():
        low, high = sorted((short, long))
        assert low[1] < high[0], f"{part}: the ranges overlap"
        middle = (low[1] + high[0]) / 2
        long_side = long == high
        for plan, is_long in PLANS.items():
            assert all((getattr(bird, part) > middle) == (is_long == long_side) for bird in birds[plan]), (plan, part)
    for trait, values in (("colour", COLOURS), ("size", SIZES)):
        shares = {p: [np.mean([getattr(b, trait) == v for b in birds[p]]) for v in values] for p in PLANS}
        # 400 birds a plan: four standard errors of a difference of shares are at most 0.14
        assert np.allclose(shares["landbird"], shares["waterbird"], atol=0.14), trait


def test_chimeras_mix_parts() -> None:
    rng = np.random.default_rng(0)
    kinds = {(b.neck_is_long, b.bill_is_flat, b.legs_are_long, b.body_is_boat) for b in map(sample_bird, [rng] * 300)}
    assert len(kinds) == 16


def test_captions_name_parts_and_never_a_class() -> None:
    rng = np.random.default_rng(0)
    texts = [caption(scene, rng) for scene in scenes(600) + scenes(200, plan="waterbird") + scenes(50, empty=True)]
    assert not [text for text in texts if "landbird" in text or "waterbird" in text]
    assert all(text.startswith("a photo of ") for text in texts)
    together = " ".join(texts)
    words = ("long neck", "short-necked", "flat bill", "long legs", "round body", "red", "small", "in a forest")
    assert all(word in together for word in words)


def test_captions_are_true() -> None:
    rng = np.random.default_rng(1)
    for scene in scenes(300):
        text, bird = caption(scene, rng), scene.subject
        assert bird is not None
        assert all(colour not in text.split() for colour in COLOURS if colour != bird.colour)
        assert ("long neck" in text or "long-necked" in text) <= bird.neck_is_long
        assert ("short neck" in text or "short-necked" in text) <= (not bird.neck_is_long)
        assert ("lake" in text) <= (scene.place == "lake")


@pytest.mark.parametrize("place", list(PLACES))
def test_places_look_unlike_each_other(place: str) -> None:
    """Water is bluer than green, a forest greener than blue: the shortcut is there to be found."""
    means = np.mean([render(s).image.mean(axis=(0, 1)) for s in scenes(20, place=place, empty=True)], axis=0)
    assert (means[2] > means[1]) == (place == "lake")
