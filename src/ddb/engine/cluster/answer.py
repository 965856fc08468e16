"""What a worker in another process sends back: rows, an error, messages for people."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from ddb.engine.files import is_disk_full
from ddb.engine.progress import heard_by
from ddb.errors import DDBError, StageFailed
from ddb.stage import Row


@dataclass(frozen=True)
class Answer:
    """To one request. `error` ends the stage; `said`: (level, text) of each log message."""

    rows: list[Row] = field(default_factory=list)
    error: Exception | None = None
    said: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Lost:
    """The worker is gone, with all requests that it has not answered. `why`: in words."""

    why: str


def answered(call: Callable[[], list[Row]], where: str) -> Answer:
    """The answer of a worker at `where` that computes `call()`."""
    said: list[tuple[int, str]] = []
    with heard_by(_Kept(said)):
        try:
            rows, error = call(), None
        except Exception as raised:
            rows, error = [], to_send(raised, where)
    return Answer(rows, error, tuple(said))


def to_send(error: Exception, where: str) -> Exception:
    """An exception that any process can read. A DDBError and the OSError of a full disk stay what they are; an
    exception of another library becomes a StageFailed with its message and its traceback as a note."""
    if isinstance(error, DDBError):
        return error
    if isinstance(error, OSError) and is_disk_full(error):
        return OSError(error.errno, error.strerror)
    told = StageFailed(f"{where}: {type(error).__name__}: {error}")
    told.add_note("".join(traceback.format_exception(error)))
    return told


class _Kept(logging.Handler):
    def __init__(self, said: list[tuple[int, str]]) -> None:
        super().__init__(logging.INFO)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.levelno, record.getMessage()))
