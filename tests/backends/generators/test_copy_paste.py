"""Copy-paste: the region holds the donor's object, nothing else of the donor, nothing of the source's object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddb.backends import Failed, Painted, Task, paint_all
from ddb.backends.generators.copy_paste import CopyPaste, fill

GREEN, RED, BLUE, GREY = (0, 200, 0), (200, 0, 0), (0, 0, 200), (90, 90, 90)


def scene(ground: tuple[int, int, int], thing: tuple[int, int, int], box: tuple[slice, slice], shape: tuple[int, int]):  # type: ignore[no-untyped-def]
    image = np.empty((*shape, 3), np.uint8)
    image[:] = ground
    mask = np.zeros(shape, np.bool_)
    mask[box] = True
    image[mask] = thing
    return image, mask


@pytest.fixture
def task() -> Task:
    image, mask = scene(GREEN, RED, (slice(10, 30), slice(8, 28)), (40, 40))
    region = np.zeros_like(mask)
    region[6:34, 4:32] = True
    donor = scene(GREY, BLUE, (slice(3, 13), slice(20, 24)), (20, 30))
    return Task(image, region, 1, "", seed=5, donor=donor)


def test_the_donors_object_replaces_the_old_one(task: Task) -> None:
    (painted,) = paint_all(CopyPaste(edge=0), [task], 1)
    assert np.array_equal(painted.changed, task.mask)
    assert np.array_equal(painted.image[~task.mask], task.image[~task.mask])
    assert not (painted.image == RED).all(axis=2).any()
    assert not (painted.image == GREY).all(axis=2).any()
    blue = painted.image[..., 2] > 150
    rows, columns = np.nonzero(blue)
    assert np.ptp(rows) + 1 == pytest.approx(20, abs=2)  # 10 px of 20 were its height, so 20 of 40 are
    assert np.ptp(columns) + 1 == pytest.approx(8, abs=2)  # its own shape kept
    assert not painted.image[blue, 0].any()  # the grey around it is not mixed in


def test_background_about_a_known_object_stays(task: Task) -> None:
    """Where the old object is known, it alone is filled in: the texture beside it is the source's own."""
    image = task.image.copy()
    image[7, 5] = image[32, 30] = (9, 99, 9)
    old = (image == RED).all(axis=2)
    (painted,) = paint_all(CopyPaste(edge=0), [replace(task, image=image, old=old)], 1)
    assert not (painted.image == RED).all(axis=2).any()
    assert np.array_equal(painted.image[7, 5], image[7, 5])
    assert np.array_equal(painted.image[32, 30], image[32, 30])
    (blind,) = paint_all(CopyPaste(edge=0), [replace(task, image=image)], 1)
    assert not np.array_equal(blind.image[32, 30], image[32, 30])


@pytest.mark.parametrize(("side", "expected"), [(4, 28), (400, 14)])
def test_objects_are_fitted_to_the_region(side: int, expected: int, task: Task) -> None:
    """An object that fills its image fills the region; one that is tiny in its image still takes half of it."""
    donor = scene(GREY, BLUE, (slice(0, 4), slice(0, 4)), (side, side))
    (painted,) = paint_all(CopyPaste(edge=0), [replace(task, donor=donor)], 1)
    rows, _ = np.nonzero(painted.image[..., 2] > 150)
    assert np.ptp(rows) + 1 == pytest.approx(expected, abs=2)


def test_the_feather_lies_inside_the_mask(task: Task) -> None:
    (painted,) = paint_all(CopyPaste(edge=3), [task], 1)
    assert np.array_equal(painted.image[~task.mask], task.image[~task.mask])
    assert np.array_equal(painted.changed, task.mask)


def test_the_same_seed_gives_the_same_image_and_seeds_differ(task: Task) -> None:
    tail = task.donor[0].copy()  # type: ignore[index]
    tail[3:6, 20] = (250, 250, 0)
    base = replace(task, donor=(tail, task.donor[1]))  # type: ignore[index]
    images = [paint_all(CopyPaste(0), [replace(base, seed=seed)], 1)[0].image for seed in range(6)]
    assert np.array_equal(images[0], paint_all(CopyPaste(0), [replace(base, seed=0)], 1)[0].image)
    assert any(not np.array_equal(images[0], other) for other in images[1:])


def test_filling_uses_the_surroundings_only() -> None:
    rng = np.random.default_rng(0)
    image, mask = scene(GREEN, RED, (slice(5, 14), slice(5, 18)), (20, 24))
    image[~mask] = rng.integers(0, 90, (int((~mask).sum()), 3), dtype=np.uint8)
    filled = fill(image, mask)
    outside = {tuple(pixel) for pixel in image[~mask].tolist()}
    assert {tuple(pixel) for pixel in filled[mask].tolist()} <= outside
    assert np.array_equal(filled[~mask], image[~mask])


def test_a_mask_over_the_whole_image_works(task: Task) -> None:
    (painted,) = paint_all(CopyPaste(edge=2), [replace(task, mask=np.ones_like(task.mask))], 1)
    assert painted.image.shape == task.image.shape
    assert (painted.image[..., 2] > 150).any()


def test_a_task_without_a_donor_fails_alone(task: Task) -> None:
    empty = replace(task, mask=np.zeros_like(task.mask))
    bad, worse, good, passed = paint_all(
        CopyPaste(edge=0), [replace(task, donor=None), empty, task, Failed("unreadable")], 2
    )
    assert isinstance(bad, Failed) and "donor" in bad.reason
    assert isinstance(worse, Failed) and "mask" in worse.reason
    assert isinstance(good, Painted)
    assert passed == Failed("unreadable")
