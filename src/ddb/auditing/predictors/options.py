"""What a user says about a model that does not say it itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ddb.errors import ConfigError


@dataclass(frozen=True)
class ModelOptions:
    """`classes`: names of the outputs, in their order. `class_map`: the model's name of a class -> the data's name.
    `backbone`: timm's architecture of a bare state dict. The others are about the input: `size` in pixels; `crop`,
    `mean` and `std` as in `Preprocessing`; `layout`: "nchw" or "nhwc"; `outputs`: "logits" or "probabilities". None or
    "": the model's own, or what its metadata say."""

    classes: tuple[str, ...] = ()
    class_map: Mapping[str, str] = field(default_factory=dict)
    backbone: str | None = None
    size: int | None = None
    crop: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str = ""
    outputs: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("layout", self.layout, ("nchw", "nhwc")),
            ("outputs", self.outputs, ("logits", "probabilities")),
        ):
            if value and value not in known:
                raise ConfigError(f"{name} {value!r} is unknown; use {' or '.join(known)}.")


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """ "0.5,0.5,0.5" -> (0.5, 0.5, 0.5); one number stands for all three. ConfigError where it is something else."""
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in (1, 3):
        raise ConfigError(f"{option} {text!r}: give three numbers, such as 0.485,0.456,0.406, or one for all colours.")
    return found * 3 if len(found) == 1 else found


def pairs(entries: Sequence[str] | None, option: str) -> dict[str, str]:
    """["theirs=ours", ...] -> {"theirs": "ours"}. ConfigError for an entry without "="."""
    found = {}
    for entry in entries or ():
        name, equals, value = entry.partition("=")
        if not equals or not name or not value:
            raise ConfigError(f"{option} {entry!r}: write it as MODEL_NAME=DATA_NAME.")
        found[name] = value
    return found
