"""Events, errors and the lock of a run folder: `events.jsonl`, `errors.log`, `.lock`.

`events.jsonl` has one object a line: `time` (UTC), `event` and, for a stage's events, `stage`, `result` (the first 16
digits of its fingerprint), `rows` that were computed and `seconds`: run | started | part | row_failed | skipped |
finished | failed | interrupted | continued. `errors.log` has the traceback of every row that failed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ddb.engine import files, layout
from ddb.errors import DDBError

log = logging.getLogger("ddb")

EVENTS, ERRORS, LOCK = "events.jsonl", "errors.log", ".lock"
ENDS = ("finished", "failed", "interrupted")
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EIO)
"""Error numbers of file systems without locks."""


def event(root: Path, event: str, /, **facts: object) -> None:
    """Append a line to events.jsonl, after a newline where a kill left an incomplete line."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    _append(root, EVENTS, json.dumps({"time": moment, "event": event, **facts}))


def failure(root: Path, stage: str, name: str, text: str) -> None:
    """Append the traceback `text` of a failed row to errors.log; `name` is its id, or empty for the whole stage."""
    moment, row = datetime.now(UTC).isoformat(timespec="seconds"), f", row {name}" if name else ""
    _append(root, ERRORS, f"{moment} stage {stage}{row}\n{text.rstrip()}")


def events(root: Path) -> list[dict[str, Any]]:
    """All events, oldest first; incomplete lines are left out."""
    path = root / EVENTS
    return [value for line in (path.read_bytes().splitlines() if path.exists() else []) if (value := _object(line))]


@dataclass(frozen=True)
class Work:
    """The work on a result of a stage over all runs: number of computed `rows`, and `seconds`."""

    stage: str
    result: str
    rows: int
    seconds: float


def history(root: Path) -> list[Work]:
    """The work on all results, the most recently started last."""
    found: dict[tuple[str, str], Work] = {}
    for one in events(root):
        key = (str(one.get("stage")), str(one.get("result")))
        if one["event"] == "started":
            found[key] = found.pop(key, Work(*key, 0, 0.0))
        elif one["event"] in ENDS and key in found:
            before = found[key]
            found[key] = Work(*key, before.rows + one["rows"], before.seconds + one["seconds"])
    return list(found.values())


def latest(history: Sequence[Work], stage: str) -> list[Work]:
    """The work on the stage's results, the most recently started first."""
    return [work for work in reversed(history) if work.stage == stage]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the run folder for this process and clean up after a killed one. DDBError while another holds it, where the
    folder cannot be made or written, and where an older version of ddb made it (nothing in it is changed). On a file
    system without locks the run goes on, with a warning."""
    layout.refuse_older(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / LOCK, "wb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise DDBError(f"{root}: cannot be made or written ({error.strerror}). Choose another --out.") from error
    with lock:
        _hold(root, lock)
        files.remove_temporary(root, "*")
        for folder in root.glob(layout.STAGE_FOLDERS):
            files.remove_temporary(folder)
        yield


def _hold(root: Path, lock: BinaryIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DDBError(f"{root}: another ddb process works in this folder. Wait for it, or choose --out.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise DDBError(f"{root}: cannot be locked ({error.strerror}). Choose another --out.") from error
        log.warning(
            "%s: this file system has no locks (%s), so nothing stops a second ddb process from working here: start "
            "one at a time.",
            *(root, error.strerror),
        )


def _append(root: Path, name: str, line: str) -> None:
    try:
        with open(root / name, "a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise (files.disk_full(root) if files.is_disk_full(error) else error) from error


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
