"""The nearest training images in a classifier's feature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.explain.record import Neighbour
from ddb.auditing.groups import discovered_name
from ddb.auditing.images import Images
from ddb.auditing.predictors import Predictor
from ddb.data.images import Pixels, read_image
from ddb.report.thumbnails import data_uri

NEAREST = 5


@dataclass(frozen=True)
class Neighbourhood:
    """Training images and their features, rows of unit length: float32 [N, D]."""

    images: Images
    ids: tuple[str, ...]
    features: npt.NDArray[np.float32]

    def nearest(self, predictor: Predictor, pixels: Pixels, without: str) -> tuple[Neighbour, ...]:
        """The `NEAREST` to an image uint8 [S, S, 3], highest cosine first; never `without`."""
        similarity = self.features @ _unit(predictor.features(pixels[None]))[0]
        dataset = self.images.dataset
        order = [row for row in np.argsort(-similarity, kind="stable").tolist() if self.ids[row] != without]
        return tuple(
            Neighbour(
                name := self.ids[row],
                dataset.classes[self.images.label(name)],
                discovered_name(dataset, name),
                float(similarity[row]),
                data_uri(read_image(dataset.root, self.images.path(name))),
            )
            for row in order[:NEAREST]
        )


def neighbourhood(predictor: Predictor, images: Images, ids: list[str]) -> Neighbourhood:
    """The features of these training images, read a batch at a time."""
    found = [predictor.features(pixels) for pixels in images.batches(ids)]
    return Neighbourhood(images, tuple(ids), _unit(np.concatenate(found)))


def _unit(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = features / np.maximum(lengths, 1e-12)
    return scaled
