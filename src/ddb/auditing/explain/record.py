"""What is found about one image."""

from __future__ import annotations

from dataclasses import dataclass

CLOSED_FORM = "closed form"


@dataclass(frozen=True)
class Twins:
    """The image with one part exchanged, for `count` donors of class `donor` (`surroundings`: the discovered group of
    most of them, ""; none is known). `predicted`: what is said most often, `times` of `count`, with its mean
    `probability` over all donors; `changed`: how often the prediction is another one than for the image. `picture`: the
    twin whose probability is in the middle, a data URI."""

    donor: str
    surroundings: str
    count: int
    predicted: str
    times: int
    probability: float
    changed: int
    picture: str


@dataclass(frozen=True)
class Contributions:
    """What `object` and `surroundings` contribute to the output of the predicted class, in `unit`. `method` is "closed
    form" (`exact`: Shapley values over composites in which pixels are pasted back byte for byte, mean over the donors),
    or that of attributions, which are summed inside and outside the mask."""

    object: float
    surroundings: float
    unit: str
    method: str
    exact: bool

    @property
    def surroundings_share(self) -> float | None:
        """The surroundings' share in [0, 1], of the absolute values; None where both are 0."""
        total = abs(self.object) + abs(self.surroundings)
        return abs(self.surroundings) / total if total else None


@dataclass(frozen=True)
class Neighbour:
    """A training image near the image in the classifier's feature space. `similarity`: cosine, at most 1."""

    id: str
    name: str
    surroundings: str
    similarity: float
    picture: str


@dataclass(frozen=True)
class Explanation:
    """`name`: the class that the data give ("": unknown); `mask`: status of the mask; `contributions`, `other_object`
    and `other_surroundings` are None where they could not be made; `picture`, `outline`: the image, and its object."""

    id: str
    name: str
    surroundings: str
    predicted: str
    probability: float
    probabilities: dict[str, float]
    contrast: str
    mask: str
    contributions: Contributions | None
    other_object: Twins | None
    other_surroundings: Twins | None
    neighbours: tuple[Neighbour, ...]
    sentence: str
    picture: str
    outline: str
