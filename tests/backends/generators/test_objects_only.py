"""Pasting back the objects alone: what stays, what changes, and what happens where no new object is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ddb.backends import Failed, Found, Image, Mask, Painted, Task, paint_all
from ddb.backends.generators.objects_only import ObjectsOnly

SIDE, SOFT = 40, 2
RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, 100, (SIDE, SIDE, 3), dtype=np.uint8)
CANVAS = RNG.integers(150, 250, (SIDE, SIDE, 3), dtype=np.uint8)


def box(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


REGION, OLD, NEW = box(2, 2, 36, 36), box(8, 8, 14, 14), box(16, 18, 24, 22)


class Painter:
    """Paints the whole region."""

    identity = "painter@1"
    wants_donor = False

    def prepare(self, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks

    def finish(self, painted: list[Painted]) -> list[Painted]:
        return painted

    def paint(self, tasks: Sequence[Task], batch_size: int) -> list[Painted]:
        return [Painted(np.where(task.mask[..., None], CANVAS, task.image), task.mask) for task in tasks]


@dataclass
class Finder:
    """Finds the same mask in every image, and remembers what it was asked for."""

    mask: Mask
    identity: str = "finder"
    asked: tuple[int, str] = (0, "")

    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str, batch_size: int) -> list[Found]:
        self.asked = (len(images), phrase)
        assert all((image[REGION] == CANVAS[REGION]).all() for image in images)
        return [Found(self.mask, 1.0) for _ in images]


def painted(found: Mask, old: Mask | None = OLD, soft: int = SOFT) -> Painted:
    task = Task(image=SOURCE, mask=REGION, to_label=1, prompt="", seed=0, old=old)
    [result] = paint_all(ObjectsOnly(Painter(), Finder(found), "bird", soft), [task], 4)
    return result


def chebyshev(mask: Mask) -> np.ndarray:
    """Distance of every pixel to the mask, in steps of eight directions."""
    pixels = np.argwhere(np.ones_like(mask))
    return cdist(pixels, np.argwhere(mask), "chebyshev").min(axis=1).reshape(mask.shape)


@pytest.mark.parametrize("soft", [0, 2, 4])
def test_objects_are_painted_and_the_rest_is_the_source(soft: int) -> None:
    result = painted(NEW, soft=soft)
    objects, near = OLD | NEW, chebyshev(OLD | NEW) <= soft + 1
    assert (result.image[objects] == CANVAS[objects]).all()
    assert (result.image[~near] == SOURCE[~near]).all()
    assert (result.changed == (near & REGION)).all()
    assert (result.image[~result.changed] == SOURCE[~result.changed]).all()


def test_the_edge_is_soft() -> None:
    distance = chebyshev(OLD | NEW)
    share = (painted(NEW).image.astype(float) - SOURCE) / (CANVAS.astype(float) - SOURCE)
    means = [share[distance == step].mean() for step in (1, 2, 3)]
    assert 1 > means[1] > means[2] > 0
    assert means[0] > means[1]


def test_nothing_outside_the_region_changes() -> None:
    result = painted(box(0, 0, 5, 40))
    assert (result.image[~REGION] == SOURCE[~REGION]).all()
    assert not (result.changed & ~REGION).any()
    assert (result.image[box(2, 2, 5, 36)] == CANVAS[box(2, 2, 5, 36)]).all()


@pytest.mark.parametrize(("found", "old"), [(box(0, 0, 0, 0), OLD), (box(37, 0, 40, 40), OLD), (NEW, None)])
def test_the_whole_region_stays_where_an_object_is_not_known(found: Mask, old: Mask | None) -> None:
    result = painted(found, old)
    assert (result.image[REGION] == CANVAS[REGION]).all()
    assert (result.changed == REGION).all()


def test_it_is_the_generator_that_it_wraps() -> None:
    finder = Finder(NEW)
    own = ObjectsOnly(Painter(), finder, "bird", SOFT)
    assert (own.identity, own.wants_donor) == ("painter@1", False)
    assert paint_all(own, [], 4) == []
    assert finder.asked == (0, "")
    paint_all(own, [Task(image=SOURCE, mask=REGION, to_label=1, prompt="", seed=0, old=OLD)] * 3, 4)
    assert finder.asked == (3, "bird")


def test_failures_of_either_model_are_passed_on_and_stay_alone() -> None:
    """The painter fails at the second task, the finder in the third painting; the fourth was unreadable before."""

    class Half(Painter):
        def paint(self, tasks: Sequence[Task | Failed], batch_size: int) -> list[Painted | Failed]:
            made = super().paint([one for one in tasks if isinstance(one, Task)], batch_size)
            return [made[0], Failed("not finite"), made[2], Failed("unreadable")]

    class Blind(Finder):
        def segment(
            self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
        ) -> list[Found | Failed]:
            assert [isinstance(one, Failed) for one in images] == [False, True, False, True]
            return [Found(NEW, 1.0), images[1], Failed("no map"), images[3]]  # type: ignore[list-item]

    task = Task(image=SOURCE, mask=REGION, to_label=1, prompt="", seed=0, old=OLD)
    own = ObjectsOnly(Half(), Blind(NEW), "bird", SOFT)
    first, *others = paint_all(own, [task, task, task, Failed("unreadable")], 4)
    assert isinstance(first, Painted)
    assert np.array_equal(first.image, painted(NEW).image)
    assert others == [Failed("not finite"), Failed("no map"), Failed("unreadable")]


def test_what_is_called_changed_is_what_may_differ() -> None:
    """A painting that differs from the source in every pixel of the region: it changes all that is called changed but
    at the faintest edge, and nothing else."""
    task = Task(image=np.zeros_like(SOURCE), mask=REGION, to_label=1, prompt="", seed=0, old=OLD)
    (result,) = paint_all(ObjectsOnly(Painter(), Finder(NEW), "bird", SOFT), [task], 1)
    assert isinstance(result, Painted)
    assert np.array_equal((result.image != 0).any(axis=2), result.changed)
