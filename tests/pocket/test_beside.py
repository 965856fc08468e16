"""Things beside a bird: apart from it, at any size of bird."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ddb.config.load import load_config
from ddb.data.masks import shaped
from ddb.pocket.beside import KINDS
from ddb.pocket.world import Scene, render, sample_scene


def scenes(count: int, thing: str, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    kinds = product(("landbird", "waterbird"), ("forest", "lake"))
    return [sample_scene(rng, plan=plan, place=place, thing=thing) for plan, place in kinds for _ in range(count // 4)]


def thing_of(scene: Scene) -> np.ndarray:
    """Pixels of a scene without its bird that the thing changes: bool HW."""
    empty = replace(scene, subject=None)
    changed: np.ndarray = (render(empty).image != render(replace(empty, beside=None)).image).any(axis=2)
    return changed


@pytest.mark.parametrize("thing", sorted(KINDS))
def test_the_mask_is_the_bird_alone(thing: str) -> None:
    for scene in scenes(20, thing):
        assert np.array_equal(render(scene).mask, render(replace(scene, beside=None)).mask)
        assert not render(replace(scene, subject=None)).mask.any()


@pytest.mark.parametrize("thing", sorted(KINDS))
def test_the_presets_region_about_the_bird_leaves_the_thing_out(thing: str) -> None:
    """In nearly all images none of the thing is repainted, and at most a fifth of it in any."""
    settings = load_config("pocket-urban").segment
    shares = []
    for scene in scenes(160, thing):
        seen = thing_of(scene)
        assert seen.sum() > 60, "the thing is there"
        shares.append((seen & shaped(render(scene).mask, settings)).sum() / seen.sum())
    assert max(shares) < 0.2 and np.mean(np.array(shares) == 0) > 0.95


def test_things_stand_on_both_sides_inside_the_frame() -> None:
    for thing in KINDS:
        drawn = scenes(80, thing)
        sides = [scene.beside.on_right for scene in drawn if scene.beside]
        assert 20 < sum(sides) < 60
        for scene in drawn:
            seen = thing_of(scene)
            columns = np.flatnonzero(seen.any(axis=0))
            assert not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())
            assert (columns.min() > 32) == scene.beside.on_right  # type: ignore[union-attr]


def test_a_thing_changes_nothing_else_of_a_scene() -> None:
    """Draws of a scene without a thing are the same as before things existed."""
    plain = sample_scene(np.random.default_rng(5), plan="landbird")
    beside = sample_scene(np.random.default_rng(5), plan="landbird", thing="boat")
    assert replace(beside, beside=None, position=plain.position) == plain
    assert plain.beside is None
