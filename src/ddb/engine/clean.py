"""Finding and removing the results in a run folder that its present settings do not use."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.engine.files import sync_folder
from ddb.engine.layout import ASIDE, PLAN
from ddb.engine.workspace import Workspace


@dataclass(frozen=True)
class Unused:
    """A result of other settings (a folder), or rows that are not in the present plan (a file)."""

    stage: str
    path: Path
    rows: int
    bytes: int


def unused(workspace: Workspace) -> list[Unused]:
    """The results that `remove` may remove. Those of a stage that waits for other stages are unknown and not listed."""
    found = []
    for stage in workspace.stages:
        current = workspace.current(stage)
        if current is None:
            continue
        own = workspace.result(stage, current.fingerprint)
        paths = [folder for folder in workspace.results(stage) if folder != own]
        if (own / ASIDE).exists():
            paths.append(own / ASIDE)
        found += [Unused(stage, path, workspace.count(path), size_of(path)) for path in paths]
    return found


def in_words(workspace: Workspace, found: Sequence[Unused]) -> list[str]:
    """Lines for people: the unused results, and the stages whose unused results are not known yet."""
    lines = [
        f"{one.path.relative_to(workspace.root)}: {one.rows} rows, {one.bytes / 1e6:.1f} MB"
        + ("" if one.path.is_dir() else " that the present plan does not ask for")
        for one in found
    ]
    waiting = [name for name in workspace.stages if workspace.current(name) is None and workspace.results(name)]
    if waiting:
        lines.append(f"kept: all results of {', '.join(waiting)}, since the stages before are not finished")
    total = sum(one.bytes for one in found) / 1e6
    return [*lines, f"{total:.1f} MB are not used" if found else "nothing is unused"]


def remove(found: Sequence[Unused]) -> None:
    """Remove them. A folder's plan.json is removed last, so that a partly removed folder is still listed."""
    for one in found:
        if one.path.is_dir():
            for path in one.path.iterdir():
                if path.name != PLAN:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            shutil.rmtree(one.path)
        else:
            one.path.unlink()
        sync_folder(one.path.parent)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]
    return sum(file.stat().st_size for file in files)
