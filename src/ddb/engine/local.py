"""The engine in this process. Another engine (a cluster) is another function of this shape: batches in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ddb.engine.files import is_disk_full
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import Row, Worker

Engine = Callable[[Callable[[], Worker], Iterable[list[str]]], Iterator[list[Row]]]
"""Open workers, give each id to one of them, yield the rows of each batch in any order, one row per id."""


def execute(open_worker: Callable[[], Worker], batches: Iterable[list[str]]) -> Iterator[list[Row]]:
    """One worker, batches in order."""
    worker = open_worker()
    for ids in batches:
        yield attempt(worker, ids)


def attempt(worker: Worker, ids: list[str]) -> list[Row]:
    """One row per id. An exception in a batch is narrowed down to the ids that cause it; those become error rows.

    A DDBError and a full disk concern the whole stage and pass through."""
    try:
        rows = worker(ids)
    except DDBError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        if len(ids) == 1:
            return [{"id": ids[0], "status": ERROR, "error": f"{type(error).__name__}: {error}"}]
        return [row for name in ids for row in attempt(worker, [name])]
    if [row["id"] for row in rows] != ids:
        raise StageFailed(
            f"the worker gave rows for other ids than it was asked for (first asked: {ids[0]}): a bug in the stage"
        )
    return rows
