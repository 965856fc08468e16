"""The engine in this process. Another engine (a cluster) is another function of this shape: batches in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ddb.engine.files import is_disk_full
from ddb.engine.overlap import overlapped
from ddb.errors import DDBError, StageFailed
from ddb.stage import Batch, Phased, Row, Worker, error_row

Engine = Callable[[Callable[[], Worker], Iterable[Batch]], Iterator[list[Row]]]
"""Open workers, give each batch to one of them, yield the rows of each batch in any order."""


def execute(open_worker: Callable[[], Worker], batches: Iterable[Batch]) -> Iterator[list[Row]]:
    """One worker, batches in order; a `Phased` one with its phases at the same time."""
    worker = open_worker()
    if isinstance(worker, Phased):
        yield from overlapped(worker, batches, attempt)
        return
    for batch in batches:
        yield attempt(worker, batch)


def attempt(worker: Worker, batch: Batch) -> list[Row]:
    """One row for each id. Where a batch raises an exception, each id is computed alone in its own slot, and those that
    raise again become error rows.

    A DDBError and a full disk concern the whole stage and pass through."""
    ids = [name for name in batch if name is not None]
    rows, error = _rows(worker, batch)
    if error is not None and len(ids) > 1:
        return [row for one in alone(batch) for row in attempt(worker, one)]
    if error is not None:
        return [error_row(ids[0], error)]
    if [row["id"] for row in rows] != ids:
        raise StageFailed(
            f"the worker gave rows for other ids than it was asked for (first asked: {ids[0]}): a bug in the stage"
        )
    return rows


def _rows(worker: Worker, batch: Batch) -> tuple[list[Row], Exception | None]:
    try:
        return worker(batch), None
    except DDBError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        return [], error


def alone(batch: Batch) -> list[Batch]:
    """A batch for each id, which keeps its slot; the other slots are empty."""
    return [
        [name if slot == position else None for slot, name in enumerate(batch)]
        for position, own in enumerate(batch)
        if own is not None
    ]
