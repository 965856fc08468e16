"""Checks of models that passed before: models of the same content, for the same settings, under the same libraries. To
check a model its library is imported, which takes seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ddb import __version__

LIBRARIES = ("torch", "timm", "transformers", "diffusers", "safetensors")


@dataclass(frozen=True)
class Passed:
    """`folder` holds an empty file for each check that passed, named by a hash of what it depends on."""

    folder: Path

    def unless_before(self, facts: object, check: Callable[[], object]) -> None:
        """Call `check`, which raises where something is wrong, unless it passed before with these facts (JSON-able)."""
        versions = [__version__, *(version(name) for name in LIBRARIES)]
        mark = self.folder / hashlib.sha256(json.dumps([versions, facts]).encode()).hexdigest()[:32]
        if mark.exists():
            return
        check()
        with suppress(OSError):  # a home that cannot be written: the next run checks again
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
