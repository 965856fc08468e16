"""Reading, computing and writing of a `Phased` worker's batches at the same time, so that a device never waits for a
file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ddb.stage import Batch, Phased, Row

AHEAD = 1
"""Batches that are read before their turn, and batches whose rows may be unfinished when the next one is computed. More
would not be faster, and the images of every batch are in memory."""


def overlapped(
    worker: Phased, batches: Iterable[Batch], attempt: Callable[[Phased, Batch], list[Row]]
) -> Iterator[list[Row]]:
    """The rows of each batch, in order. `compute` runs in the calling thread, `read` and `rows` in a thread each.

    Where a phase raises an exception, `attempt(worker, batch)` is called in its place, after the rows of all earlier
    batches were yielded; its exceptions pass through."""
    with _threads() as (reader, writer):
        rest = iter(batches)
        reading: deque[tuple[Batch, Future[Any]]] = deque()
        writing: deque[tuple[Batch, Future[list[Row]]]] = deque()

        def finished() -> list[Row]:
            batch, future = writing.popleft()
            return future.result() if future.exception() is None else attempt(worker, batch)

        while True:
            reading += ((batch, reader.submit(worker.read, batch)) for batch in islice(rest, 1 + AHEAD - len(reading)))
            if not reading:
                break
            batch, inputs = reading.popleft()
            try:
                outputs = worker.compute(inputs.result())
            except Exception:
                while writing:
                    yield finished()
                yield attempt(worker, batch)
                continue
            writing.append((batch, writer.submit(worker.rows, outputs)))
            if len(writing) > AHEAD:
                yield finished()
        while writing:
            yield finished()


@contextmanager
def _threads() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Two threads. On exit what has not begun is dropped, and what has begun is waited for."""
    with ThreadPoolExecutor(1, "ddb-read") as reader, ThreadPoolExecutor(1, "ddb-write") as writer:
        try:
            yield reader, writer
        finally:
            for one in (reader, writer):
                one.shutdown(wait=False, cancel_futures=True)
