"""Pastes only the objects of a painted region into the source: the pixels of the old object and of the new one.

A region has room for either class, so most of it is background, which a generator paints blurred. Blur that occurs on
counterfactuals alone lets a classifier recognise generated images, and thereby their class. Here the background around
the objects is the source's (method.md section 4 leaves open what is pasted back).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy import ndimage

from ddb.backends import Failed, Found, Generator, Painted, Segmenter, Task
from ddb.data.masks import blended, feather

EIGHT = ndimage.generate_binary_structure(2, 2)
"""Neighbours on all sides. Objects grow by one pixel more than the edge is wide: their own pixels weigh 1, and so do
those right beside them, which segmenters miss."""


class ObjectsOnly:
    """A generator whose paintings are reduced to the objects that `segmenter` finds in them.

    Where it finds none, the whole region is pasted, since the new object may still be there.
    """

    def __init__(self, generator: Generator, segmenter: Segmenter, phrase: str, soft: int) -> None:
        """`phrase`: prompt of the segmenter; `soft`: width of the soft edge around the objects, pixels."""
        self.generator, self.segmenter, self.phrase, self.soft = generator, segmenter, phrase, soft

    @property
    def identity(self) -> str:
        return self.generator.identity

    @property
    def wants_donor(self) -> bool:
        return self.generator.wants_donor

    def prepare(self, tasks: Sequence[Task | Failed]) -> tuple[Sequence[Task | Failed], Any]:
        """The tasks, and what the generator prepares."""
        return tasks, self.generator.prepare(tasks)

    def paint(
        self, prepared: tuple[Sequence[Task | Failed], Any], batch_size: int
    ) -> list[tuple[Task | Failed, Painted | Failed, Found | Failed]]:
        """Each task, its painting and the object in it. Both models work in batches of `batch_size`."""
        tasks, inputs = prepared
        painted = self.generator.finish(self.generator.paint(inputs, batch_size))
        found: list[Found | Failed] = [one for one in painted if isinstance(one, Failed)]
        if len(found) < len(painted):
            names = [str(number) for number in range(len(tasks))]
            images = [one if isinstance(one, Failed) else one.image for one in painted]
            found = self.segmenter.segment(names, images, self.phrase, batch_size)
        return list(zip(tasks, painted, found, strict=True))

    def finish(self, painted: list[tuple[Task | Failed, Painted | Failed, Found | Failed]]) -> list[Painted | Failed]:
        """`changed` is where pixels may differ from the source: the objects with their soft edge. A painting in which
        the segmenter fails is a failure."""
        return [self._cut(*three) for three in painted]

    def _cut(self, task: Task | Failed, painted: Painted | Failed, found: Found | Failed) -> Painted | Failed:
        if isinstance(task, Failed) or isinstance(painted, Failed):
            return painted
        if isinstance(found, Failed):
            return found
        if task.old is None or not (found.mask & painted.changed).any():
            return painted
        objects = (task.old | found.mask) & painted.changed
        grown = ndimage.binary_dilation(objects, EIGHT, iterations=self.soft + 1)
        return Painted(blended(task.image, painted.image, feather(grown, self.soft)), grown & painted.changed)
