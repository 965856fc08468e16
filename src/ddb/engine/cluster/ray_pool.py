"""The workers of a `scheduling.Pool` as Ray actors; and the engine that computes stages with them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from ddb.engine.cluster import scheduling
from ddb.engine.cluster.actor import Recipe, RowActor
from ddb.engine.cluster.answer import Answer, Lost
from ddb.engine.cluster.connection import Room
from ddb.engine.local import Engine
from ddb.stage import Batch, Row, Worker


@contextmanager
def ray_engine(recipe: Recipe, room: Room, stuck_after: float) -> Iterator[RayEngine]:
    """The engine of a run; its actors end with the context. Call it inside `connection.connected`."""
    pool = RayPool(recipe, room)
    try:
        yield RayEngine(pool, stuck_after)
    finally:
        pool.close()


class RayEngine:
    """Computes the batches of a stage with the actors of the pool, which keep their models from stage to stage."""

    def __init__(self, pool: RayPool, stuck_after: float) -> None:
        self._pool, self._stuck_after = pool, stuck_after

    def __call__(self, stage: str) -> Engine:
        """The engine of a stage. Its actors open the stage themselves."""

        def execute(open_worker: Callable[[], Worker], batches: Iterable[Batch]) -> Iterator[list[Row]]:
            return scheduling.execute(self._pool, stage, batches, self._stuck_after)

        return execute

    def release(self) -> None:
        """End all actors, so that this process has the devices for itself; the next stage starts others."""
        self._pool.close()


class RayPool:
    """See `scheduling.Pool`. Actors are started by need."""

    def __init__(self, recipe: Recipe, room: Room) -> None:
        self.size = room.workers
        actor = ray.remote(RowActor).options(max_restarts=0, **room.resources())
        self._make = partial(actor.remote, os.getcwd(), ray.put(recipe))
        self._actors: dict[int, Any] = {}
        self._asked: dict[int, deque[Any]] = {}
        self._started = 0

    def workers(self) -> list[int]:
        return list(self._actors)

    def start(self) -> int:
        self._started += 1
        self._actors[self._started], self._asked[self._started] = self._make(), deque()
        return self._started

    def stop(self, worker: int) -> None:
        self._asked.pop(worker, None)
        if (actor := self._actors.pop(worker, None)) is not None:
            ray.kill(actor)

    def open(self, worker: int, stage: str) -> None:
        self._asked[worker] = deque([self._actors[worker].open.remote(stage)])

    def compute(self, worker: int, batch: Batch) -> None:
        self._asked[worker].append(self._actors[worker].compute.remote(batch))

    def answers(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        first = {own[0]: worker for worker, own in self._asked.items() if own}
        if not ray.wait(list(first), timeout=seconds)[0]:
            return []
        ready, _ = ray.wait(list(first), num_returns=len(first), timeout=0)
        return [(first[one], self._answer(first[one], one)) for one in ready]

    def close(self) -> None:
        """Stop all workers."""
        for worker in self.workers():
            self.stop(worker)

    def _answer(self, worker: int, request: Any) -> Answer | Lost:
        try:
            answer: Answer = ray.get(request)
        except ray.exceptions.RayError as error:
            self.stop(worker)  # it may only be out of reach
            return Lost(in_words(error))
        self._asked[worker].popleft()
        return answer


def in_words(error: Exception) -> str:
    """Why an actor gave no answer, from Ray's error."""
    text = str(error).strip()
    if "creation task" in text:
        return f"it could not start: {text.splitlines()[-1].strip()}"
    if "node has died" in text or isinstance(error, ray.exceptions.ActorUnavailableError):
        return "its machine does not answer"
    if isinstance(error, ray.exceptions.RayActorError | ray.exceptions.OutOfMemoryError):
        return "its process was killed, by a lack of memory or a crash of a library"
    return text.splitlines()[0] if text else type(error).__name__
