"""Sections with one class per backend: the backend that is assumed where none is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def starting_with(backend: str) -> Callable[[Any], Any]:
    """A validator that adds `backend` to settings without one."""

    def named(values: Any) -> Any:
        return {"backend": backend} | values if isinstance(values, dict) else values

    return named


def tag_required(schema: dict[str, Any]) -> None:
    """Mark `backend` as required in the JSON schema of the settings of a backend that is not the default."""
    schema["required"] = ["backend", *schema.get("required", ())]
