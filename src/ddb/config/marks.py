"""Which settings the rows of a stage depend on, read from the marks of the fields (`ddb.config.section`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from ddb.config.run import RunConfig
from ddb.config.section import Mark, Section, StageName, mark_of


@dataclass(frozen=True)
class Leaf:
    """A setting: its dotted name, its value as JSON, its mark, and the stages that read it (content alone)."""

    name: str
    value: JsonValue
    mark: Mark
    stages: tuple[StageName, ...]


def leaves(config: RunConfig) -> Iterator[Leaf]:
    """Every setting of a run; of a section with several backends, those of the backend in use."""
    yield from _leaves(config, config.model_dump(mode="json"), "")


def content_of(config: RunConfig, stage: StageName) -> dict[str, JsonValue]:
    """Dotted names and values of the settings that decide the values of a stage's rows, references left out."""
    return {leaf.name: leaf.value for leaf in _content(config, stage) if not leaf.mark.reference}


def references_of(config: RunConfig, stage: StageName) -> dict[str, str]:
    """Dotted names and values of the settings that name files or weights which a stage's rows depend on.

    One without a value is left out. Of a setting that is a mapping (`invert.tokens`), one entry a key:
    "invert.tokens.landbird".
    """
    found: dict[str, str] = {}
    for leaf in _content(config, stage):
        if not leaf.mark.reference:
            continue
        if isinstance(leaf.value, dict):
            found |= {f"{leaf.name}.{key}": str(value) for key, value in leaf.value.items()}
        elif leaf.value is not None:
            found[leaf.name] = str(leaf.value)
    return found


def deciding(config: RunConfig) -> dict[str, JsonValue]:
    """Dotted names and values of all settings that decide results, content and extent, references as they are given."""
    return {leaf.name: leaf.value for leaf in leaves(config) if leaf.mark.kind != "execution"}


def _content(config: RunConfig, stage: StageName) -> Iterator[Leaf]:
    """Stage inpaint reads settings of the segmenter only where `inpaint.paste` is "objects"."""
    unread = "segment." if stage == "inpaint" and config.inpaint.paste != "objects" else None
    for leaf in leaves(config):
        if stage in leaf.stages and not (unread and leaf.name.startswith(unread)):
            yield leaf


def _leaves(section: Section, plain: dict[str, JsonValue], prefix: str) -> Iterator[Leaf]:
    for name, field in type(section).model_fields.items():
        value, dotted, json_value = getattr(section, name), prefix + name, plain[name]
        if isinstance(value, Section):
            assert isinstance(json_value, dict)
            yield from _leaves(value, json_value, f"{dotted}.")
            continue
        mark = mark_of(field)
        assert mark is not None, f"{dotted} bears no mark"
        own: tuple[StageName, ...] = (prefix.partition(".")[0],) if mark.kind == "content" else ()  # type: ignore[assignment]
        yield Leaf(dotted, json_value, mark, mark.reads or own)
