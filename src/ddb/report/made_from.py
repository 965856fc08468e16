"""What a page was made from, as a mark in its head: a page with the present mark need not be written again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ddb import __version__
from ddb.engine import journal
from ddb.engine.layout import DONE
from ddb.engine.workspace import Workspace

DESCRIPTIONS = ("current.json", "config.yaml", "dataset.json", "environment.json")
"""Files at the top of a run folder that the page shows something of."""
WITHOUT_WORK = ("run", "skipped")
"""Events that leave the times of the stages as they are."""
HEAD = 4096
"""The mark stands within this many bytes from the beginning of the page."""


def mark_of(workspace: Workspace) -> str:
    """A hash over everything that `report.html` is made from: present results, settings, times of the stages, version,
    and where the run folder lies, since the page shows commands with it.
    The results themselves are not read, but the facts of them that `done.json` holds."""
    root = workspace.root
    finished = [workspace.folder(stage) / DONE for stage in workspace.stages if workspace.current(stage)]
    files = [*(root / name for name in DESCRIPTIONS), *finished]
    events = [event for event in journal.events(root) if event["event"] not in WITHOUT_WORK]
    digest = hashlib.sha256(json.dumps([__version__, str(root.resolve()), events]).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"none")
    return digest.hexdigest()


def has_mark(page: Path, mark: str) -> bool:
    """Whether `page` is there and was made with this mark."""
    if not page.is_file():
        return False
    with open(page, "rb") as file:
        return f'content="{mark}"'.encode() in file.read(HEAD)
