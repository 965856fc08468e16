"""Sections with a class a backend: what is assumed where no backend is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def starting_with(backend: str) -> Callable[[Any], Any]:
    """A function that names `backend` in settings which name none."""

    def named(values: Any) -> Any:
        return {"backend": backend} | values if isinstance(values, dict) else values

    return named


def tag_required(schema: dict[str, Any]) -> None:
    """Says in the JSON schema of a backend's settings that its name must be given: it is not the default."""
    schema["required"] = ["backend", *schema.get("required", ())]
