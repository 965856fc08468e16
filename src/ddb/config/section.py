"""Base class of the sections of the configuration, marks of their fields, and common types with limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypedDict, Unpack, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

StageName = Literal["erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
"""Stages that settings are read by, in the order in which they run."""

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(min_length=1)]


class Limits(TypedDict, total=False):
    """Limits of a field's value, as pydantic's `Field` takes them."""

    gt: float
    ge: float
    lt: float
    le: float
    min_length: int
    max_length: int
    pattern: str


@dataclass(frozen=True)
class Mark:
    """The mark of a field. content: it decides the values of rows; extent: which rows there are; execution: how they
    are computed.

    `reads`: the stages whose rows depend on it (content alone); empty: the stage that its section is named after.
    `reference`: the value names files or weights; rows depend on their content, not on the name.
    """

    kind: Literal["content", "extent", "execution"]
    reads: tuple[StageName, ...] = ()
    reference: bool = False


def content(
    default: Any,
    *,
    description: str,
    reads: tuple[StageName, ...] = (),
    reference: bool = False,
    **limits: Unpack[Limits],
) -> Any:
    """A field that decides the values of rows of the stages `reads` (empty: the stage named like its section).

    `default` may be `...`: the field is required.
    """
    return _field(default, description, Mark("content", reads, reference), limits)


def extent(default: Any, *, description: str, **limits: Unpack[Limits]) -> Any:
    """A field that decides which rows there are."""
    return _field(default, description, Mark("extent"), limits)


def execution(default: Any, *, description: str, **limits: Unpack[Limits]) -> Any:
    """A field that decides how rows are computed; their values depend on it only through `ddb.stage.Fixed`."""
    return _field(default, description, Mark("execution"), limits)


def _field(default: Any, description: str, mark: Mark, limits: Limits) -> Any:
    extra: JsonDict = {"mark": mark.kind}
    if mark.reads:
        extra["reads"] = list(mark.reads)
    if mark.reference:
        extra["reference"] = True
    return Field(default, description=description, json_schema_extra=extra, **limits)


def mark_of(field: FieldInfo) -> Mark | None:
    """The mark of a field; None: it has none, as sections have."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict) or "mark" not in extra:
        return None
    facts: dict[str, Any] = dict(extra)
    return Mark(facts["mark"], tuple(facts.get("reads", ())), facts.get("reference", False))


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        """No path, name or word can hold a null character."""
        for name in type(self).model_fields:
            if any("\0" in text for text in _texts(getattr(self, name))):
                raise ValueError(f"`{name}` holds a null character")
        return self


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in _texts(part))
    elif isinstance(value, tuple | list):
        yield from (text for part in value for text in _texts(part))


def sections_of(field: FieldInfo) -> tuple[type[Section], ...]:
    """The section that a field holds, or the sections that it chooses from by `backend`; none: it holds a value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
