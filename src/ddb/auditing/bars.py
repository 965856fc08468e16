"""Bars that an audit has to reach: `--fail-under worst_group=0.8,flip_rate=0.9`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ddb.auditing.figures import Figure
from ddb.auditing.record import Audit
from ddb.errors import ConfigError


@dataclass(frozen=True)
class Named:
    """A figure with a name, higher is better; `meaning` for people."""

    meaning: str
    of: Callable[[Audit], Figure | None]


NAMED = {
    "accuracy": Named("all audited images", lambda found: found.accuracy.overall),
    "worst_class": Named("lowest accuracy of a class", lambda found: found.accuracy.worst_class.accuracy),
    "worst_group": Named(
        "lowest accuracy of a group",
        lambda found: None if found.accuracy.worst_group is None else found.accuracy.worst_group.accuracy,
    ),
    "surroundings_exchanged": Named(
        "predicted as the object's class in the surroundings of another class",
        lambda found: None if found.parts is None else found.parts.surroundings_exchanged.object_class,
    ),
    "object_exchanged": Named(
        "predicted as the new object's class where the object is exchanged (copy-paste)",
        lambda found: None if found.parts is None else found.parts.object_exchanged.object_class,
    ),
    "object_share": Named(
        "the object's share in the change of probability (1 - that of the surroundings)",
        lambda found: (
            None
            if found.parts is None or found.parts.surroundings_share is None
            else found.parts.surroundings_share.flipped()
        ),
    ),
    "attribution_inside": Named(
        "share of attribution inside the object's mask",
        lambda found: None if found.attribution is None else found.attribution.inside,
    ),
    "flip_rate": Named(
        "pairs of image and counterfactual that are both right (of the run, else copy-paste)",
        lambda found: found.flip_rate,
    ),
}
"""The figures that can have a bar."""


@dataclass(frozen=True)
class Verdict:
    """A figure, None where it was not measured, and its bar, None where none was set."""

    name: str
    figure: Figure | None
    bar: float | None

    @property
    def missed(self) -> bool:
        return self.bar is not None and (self.figure is None or self.figure.value < self.bar)

    @property
    def sentence(self) -> str:
        """The verdict in words, for a bar that was missed."""
        if self.figure is None:
            return f"{self.name}: not measured, so the bar {self.bar:g} is missed"
        low, high = self.figure.low, self.figure.high
        return f"{self.name} {self.figure.value:.3f} ({low:.3f} to {high:.3f}, n {self.figure.n}) is under {self.bar:g}"


def parse_bars(text: str) -> dict[str, float]:
    """ "worst_group=0.8,flip_rate=0.9" -> name -> bar in [0, 1]. ConfigError names what is unknown or no share."""
    found: dict[str, float] = {}
    for part in filter(None, (entry.strip() for entry in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in NAMED:
            raise ConfigError(f"--fail-under: {name!r} is no figure of an audit; there are {', '.join(NAMED)}.")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] <= 1:
            raise ConfigError(f"--fail-under {part!r}: write it as {name}=0.8, a share from 0 to 1.")
    return found


def verdicts(found: Audit, bars: Mapping[str, float]) -> list[Verdict]:
    """One for each named figure, in order."""
    return [Verdict(name, one.of(found), bars.get(name)) for name, one in NAMED.items()]
