"""Hands the batches of a stage to workers in other processes.

A batch goes to any free worker; one more waits at each worker, so that none waits for the next. Rows come back in any
order. A worker that dies or is stuck is replaced, and its batch is given to another. A batch that has lost two workers
is computed row by row, and a row that loses its worker then becomes an error row.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from ddb.engine.cluster.answer import Answer, Lost
from ddb.engine.local import alone
from ddb.errors import StageFailed
from ddb.stage import Batch, Row, error_row

log = logging.getLogger("ddb")

AHEAD = 2
"""Batches that a worker has at most: the one that it computes and the next."""
TRIES = 2
"""Workers that a batch may lose before its rows are computed one by one."""
SLOW = 10
"""A batch is stuck when it takes this many times as long as half of the others (and the time that is set)."""
LOSSES = 3
"""Lost workers without a finished batch in between, for each worker of the pool, after which the stage fails."""
TICK = 1.0
"""Seconds between two looks for stuck batches."""


class Pool(Protocol):
    """Workers by number. Each answers its requests in order; a number is never used again."""

    size: int
    """How many workers there may be at once."""

    def workers(self) -> list[int]:
        """Those that were started and are not known to be lost."""

    def start(self) -> int:
        """A new worker; it may take its time to appear."""

    def stop(self, worker: int) -> None:
        """End a worker at once; what it has not answered is dropped. No effect on a lost one."""

    def open(self, worker: int, stage: str) -> None:
        """Request: open a stage. Answers to earlier requests that are still to come are dropped."""

    def compute(self, worker: int, batch: Batch) -> None:
        """Request: the rows of a batch of the open stage."""

    def answers(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        """What has come since the last call, at most one answer of each worker, also to requests of an earlier stage;
        waits up to `seconds` for the first."""


def execute(
    pool: Pool,
    stage: str,
    batches: Iterable[Batch],
    stuck_after: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[list[Row]]:
    """Compute the batches of a stage with the workers of the pool; the rows of each batch (or of a part of it).

    A batch is stuck after `stuck_after` seconds, but not before it has taken `SLOW` times the median of the latest
    batches; the time that opening a stage takes is not limited. Raises the error of a worker (see `answer.to_send`),
    and StageFailed where workers are lost again and again."""
    run = _Run(pool, stage, stuck_after, clock, deque(_Work(batch) for batch in batches))
    try:
        while run.unfinished():
            run.assign()
            done = run.collect()
            run.assign()  # before the rows are written
            yield from done
    finally:
        run.leave()


@dataclass(frozen=True)
class _Work:
    """A batch that is to be computed; `losses`: workers that were lost while they computed it."""

    batch: Batch
    losses: int = 0


@dataclass
class _Run:
    """The state of a stage. `given`: worker -> its batches, the first of which it computes since `since`; `opened`:
    workers that have opened the stage; `took`: seconds of the latest batches; `losses`: lost workers since a batch was
    finished; `said`: messages that were shown; `heard`: time of the latest answer."""

    pool: Pool
    stage: str
    stuck_after: float
    clock: Callable[[], float]
    waiting: deque[_Work]
    given: dict[int, deque[_Work]] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)
    opened: set[int] = field(default_factory=set)
    took: deque[float] = field(default_factory=lambda: deque(maxlen=99))
    losses: int = 0
    said: set[str] = field(default_factory=set)
    heard: float = 0.0

    def __post_init__(self) -> None:
        self.heard = self.clock()

    def unfinished(self) -> int:
        """Number of batches without rows."""
        return len(self.waiting) + sum(map(len, self.given.values()))

    def assign(self) -> None:
        """Give each worker what it can take. The last batches, one for each worker, go to free workers only."""
        while len(self.given) < min(self.pool.size, self.unfinished()):
            idle = [worker for worker in self.pool.workers() if worker not in self.given]
            worker = idle[0] if idle else self.pool.start()
            self.pool.open(worker, self.stage)
            self.given[worker] = deque()
        for number in range(AHEAD):
            for worker in sorted(self.opened):
                own = self.given[worker]
                if len(own) == number and self._may_take(own):
                    if not own:
                        self.since[worker] = self.clock()
                    own.append(self.waiting.popleft())
                    self.pool.compute(worker, own[-1].batch)

    def _may_take(self, own: deque[_Work]) -> bool:
        """Whether a worker with the batches `own` may take the next. One that has lost a worker shares none with
        others: an answer that was ready may be lost with the worker, so it would not be clear which one is to blame."""
        if not own:
            return bool(self.waiting)
        return len(self.waiting) > len(self.given) and not own[0].losses and not self.waiting[0].losses

    def collect(self) -> list[list[Row]]:
        """Wait for answers; the rows of finished batches. Stuck workers are stopped. Workers that this stage does not
        use may still answer that they have opened the one before."""
        done = []
        answers = [(worker, answer) for worker, answer in self.pool.answers(TICK) if worker in self.given]
        if answers or any(self.given.values()):
            self.heard = self.clock()
        elif self.clock() - self.heard > self.stuck_after:
            self._say(logging.WARNING, f"{self.stage}: still no worker has opened it. `ray status` shows what is free.")
        for worker, answer in answers:
            done += self._lose(worker, answer.why) if isinstance(answer, Lost) else self._take(worker, answer)
        for worker in self._stuck():
            self.pool.stop(worker)
            done += self._lose(worker, f"no answer for {self.clock() - self.since[worker]:.0f} s")
        return done

    def leave(self) -> None:
        """Stop the workers that still compute batches: nobody waits for their rows."""
        for worker, own in self.given.items():
            if own:
                self.pool.stop(worker)

    def _take(self, worker: int, answer: Answer) -> list[list[Row]]:
        for level, text in answer.said:
            self._say(level, text)
        if answer.error is not None:
            raise answer.error
        if worker not in self.opened:
            self.opened.add(worker)
            return []
        now = self.clock()
        self.given[worker].popleft()
        self.took.append(now - self.since[worker])
        self.since[worker], self.losses = now, 0
        return [answer.rows]

    def _say(self, level: int, text: str) -> None:
        """Log a message once: each worker says the same about its model."""
        if text not in self.said:
            self.said.add(text)
            log.log(level, "%s", text)

    def _stuck(self) -> list[int]:
        if not self.took:
            return []
        limit = max(self.stuck_after, SLOW * median(self.took))
        return [worker for worker, own in self.given.items() if own and self.clock() - self.since[worker] > limit]

    def _lose(self, worker: int, why: str) -> list[list[Row]]:
        """Put the batches of a lost worker back; an error row where it computed a single row and that was not the
        first time."""
        own = self.given.pop(worker)
        self.opened.discard(worker)
        self.losses += 1
        log.warning("%s: a worker was lost (%s); another one goes on.", self.stage, why)
        if self.losses > LOSSES * self.pool.size:
            raise StageFailed(
                f"stage {self.stage}: {self.losses} workers were lost and no batch was finished meanwhile; the last: "
                f"{why}. What was computed before is kept: mend the cause and run again."
            )
        if not own:
            return []
        first = own.popleft()
        self.waiting.extendleft(reversed(own))
        return self._judge(first.batch, first.losses + 1, why)

    def _judge(self, batch: Batch, losses: int, why: str) -> list[list[Row]]:
        """What becomes of a batch that has lost its worker."""
        if losses < TRIES:
            self.waiting.appendleft(_Work(batch, losses))
            return []
        ones = alone(batch)
        if len(ones) > 1:
            self.waiting.extendleft(reversed([_Work(one, losses - 1) for one in ones]))
            return []
        self.losses = 0
        name = next(name for name in batch if name is not None)
        fault = StageFailed(f"{losses} workers were lost while they computed this row; the last: {why}")
        return [[error_row(name, fault)]]
