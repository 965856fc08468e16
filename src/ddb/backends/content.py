"""Content hashes of files. A file is read once in a process, and once for a store of hashes, unless it changes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SETTLED = 2 * 10**9
"""Age, nanoseconds, from which on the times of a file tell whether it has changed: a file that is hashed in the moment
in which it is written could change once more without another time (file systems count in steps of up to 2 seconds)."""


class _State(NamedTuple):
    """What tells one state of a file from another without reading it. `modified`, `changed`: times in nanoseconds, of
    the content and of the inode; no program sets back the latter."""

    path: str
    inode: int
    size: int
    modified: int
    changed: int


@dataclass
class _Known:
    """Hashes of this process, by the state that a file was hashed in: they change no answer. `asked`: states whose
    hashes were asked for since a store was opened; `lasting`: states that a store may keep."""

    hashes: dict[_State, str] = field(default_factory=dict)
    asked: set[_State] = field(default_factory=set)
    lasting: set[_State] = field(default_factory=set)


_known = _Known()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file in hex. OSError if it cannot be read."""
    name, facts = os.path.abspath(path), os.stat(path)
    state = _State(name, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    _known.asked.add(state)
    if state not in _known.hashes:
        if time.time_ns() - max(state.modified, state.changed) > SETTLED:
            _known.lasting.add(state)
        with open(path, "rb") as file:
            _known.hashes[state] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known.hashes[state]


@contextmanager
def hashes_kept(store: Path) -> Iterator[None]:
    """Inside this context, hashes that are in the file `store` are not computed; at its end the hashes that were asked
    for are written there. A damaged store is ignored."""
    before = _read(store)
    _known.hashes.update(before)
    _known.lasting.update(before)
    _known.asked.clear()
    yield
    after = {state: _known.hashes[state] for state in _known.asked & _known.lasting}
    if after != before:
        _write(store, after)


def _read(store: Path) -> dict[_State, str]:
    try:
        return {_State(*state): value for *state, value in json.loads(store.read_text())}
    except (OSError, ValueError, TypeError):  # there is none yet, or it is damaged: the files are read again
        return {}


def _write(store: Path, hashes: dict[_State, str]) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    temporary = store.with_name(f"{store.name}.{os.getpid()}.tmp")  # helping processes may write it at the same time
    temporary.write_text(json.dumps([[*state, value] for state, value in sorted(hashes.items())]))
    os.replace(temporary, store)
