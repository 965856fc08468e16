"""The identity of a stage's result, from its settings and inputs, and the facts that a finished result stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ddb.stage import Need, Stage


@dataclass(frozen=True)
class Done:
    """The content of `done.json`. `key`: of the plan of the rows; `digest`: SHA-256 of the finished part."""

    key: str
    digest: str
    rows: int
    errors: int


DONE_KEYS = tuple(field.name for field in fields(Done))


@dataclass(frozen=True)
class Current:
    """The result that the present settings use: `fingerprint` names its folder; `key` identifies its plan: a result
    with another key may lack rows, or have rows of another plan."""

    fingerprint: str
    key: str


def identity(stage: Stage, marks: Mapping[str, str]) -> Current:
    """The result of `stage` made from these marks (`mark`) of its needed stages.

    The fingerprint covers name, content, schema, and of each need what its rows depend on: nothing (`Need.PLAN`), the
    needed stage's fingerprint (`ROWS`), its finished table (`TABLE`). The key covers extent and all finished tables."""
    decisive = {Need.ROWS: {name: fingerprint_of(mark) for name, mark in marks.items()}, Need.TABLE: dict(marks)}
    needs = {name: decisive[need][name] for name, need in stage.needs.items() if need in decisive}
    content = {"name": stage.name, "content": dict(stage.content), "schema": stage.schema.to_string()}
    return Current(_hash({**content, "needs": needs}), _hash({"needs": dict(marks), "extent": dict(stage.extent)}))


def mark(fingerprint: str, done: Done | None) -> str:
    """FINGERPRINT:DIGEST of a stage's result; the digest is empty where it is not finished."""
    return f"{fingerprint}:{done.digest if done else ''}"


def fingerprint_of(mark: str) -> str:
    """The fingerprint in a mark."""
    return mark.partition(":")[0]


def _hash(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
