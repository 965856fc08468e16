"""Progress of a run: a bar with rate and remaining time on a terminal, lines with the same facts elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

LINE_SECONDS = 5.0


class Progress(Protocol):
    """Receives the progress of stages from the runner: a stage starts, its worker is `opening` and then `opened`, rows
    are computed, and it stops. `say` shows further lines (epochs, losses)."""

    def start(self, stage: str, planned: int, done: int) -> None: ...

    def opening(self) -> None: ...

    def opened(self) -> None: ...

    def advance(self, rows: int, errors: int) -> None: ...

    def stop(self, state: str) -> None: ...

    def skip(self, stage: str, planned: int) -> None: ...

    def say(self, text: str) -> None: ...


def open_progress(stream: TextIO) -> Progress:
    """A bar where `stream` is a terminal, lines otherwise."""
    return Bar(stream) if stream.isatty() else Lines(stream)


@dataclass
class Count:
    """The rows of a stage and how fast they come. `new` rows were computed since `since`, when the worker was open:
    opening models and training, which happen before, say nothing about the rows that are left."""

    stage: str
    planned: int
    done: int
    now: Callable[[], float]
    errors: int = 0
    new: int = 0
    since: float | None = None

    def opened(self) -> None:
        self.since = self.now()

    def add(self, rows: int, errors: int) -> None:
        self.done, self.errors = self.done + rows, self.errors + errors
        if self.since is None:  # the worker opened in another process: its first rows tell when
            self.opened()
        else:
            self.new += rows

    @property
    def seconds(self) -> float:
        """Since the worker is open; 0 before."""
        return 0.0 if self.since is None else self.now() - self.since


class Lines:
    """A line when a stage starts, opens and ends, and one every few seconds between."""

    def __init__(self, stream: TextIO, every: float = LINE_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every, self._now = stream, every, now
        self._count = Count("", 0, 0, now)
        self._started = self._last = 0.0

    def start(self, stage: str, planned: int, done: int) -> None:
        self._count = Count(stage, planned, done, self._now)
        self._started = self._last = self._now()
        self.say(f"{stage}: {planned} rows planned" + (f", {done} there already" if done else ""))

    def opening(self) -> None:
        self.say(f"{self._count.stage}: opening")

    def opened(self) -> None:
        self._count.opened()

    def advance(self, rows: int, errors: int) -> None:
        count, now = self._count, self._now()
        count.add(rows, errors)
        if count.new and now - self._last >= self._every:
            self._last = now
            self.say(facts(count.stage, count.done, count.planned, count.new, count.errors, count.seconds))

    def stop(self, state: str) -> None:
        count, seconds = self._count, self._now() - self._started
        failed = f", {count.errors} with an error" if count.errors else ""
        self.say(f"{count.stage}: {state}, {count.done} of {count.planned} rows{failed}, {clock(seconds)}")

    def skip(self, stage: str, planned: int) -> None:
        self.say(f"{stage}: {planned} rows, done before")

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bar:
    """A rich progress bar per stage."""

    def __init__(self, stream: TextIO) -> None:
        from rich import progress as bars
        from rich.console import Console

        self._console = Console(file=stream)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._task: bars.TaskID | None = None
        self._count = Count("", 0, 0, time.monotonic)

    def start(self, stage: str, planned: int, done: int) -> None:
        self._count = Count(stage, planned, done, time.monotonic)
        self._task = self._bars.add_task(stage, total=planned, completed=done, rate="", note="")
        self._bars.start()

    def opening(self) -> None:
        assert self._task is not None, "opening comes after start"
        self._bars.update(self._task, rate="opening")

    def opened(self) -> None:
        assert self._task is not None, "opened comes after start"
        self._count.opened()
        self._bars.update(self._task, rate="")

    def advance(self, rows: int, errors: int) -> None:
        assert self._task is not None, "advance comes after start"
        count = self._count
        count.add(rows, errors)
        note = f"{count.errors} with an error" if count.errors else ""
        rate = speed(count.planned - count.done, count.new, count.seconds) if count.new else ""
        self._bars.update(self._task, advance=rows, rate=rate, note=note)

    def stop(self, state: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=f"{self._count.stage}: {state}", rate="")
        self._bars.stop()
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._task = None

    def skip(self, stage: str, planned: int) -> None:
        self.say(f"{stage}: {planned} rows, done before")

    def say(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)


class Messages(logging.Handler):
    """Shows log messages (epochs, losses, warnings) through the progress, without breaking the bar."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._progress.say(prefix + record.getMessage())


@contextmanager
def heard_by(handler: logging.Handler) -> Iterator[None]:
    """Inside this context `handler` gets what ddb logs, from the level INFO on."""
    log = logging.getLogger("ddb")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def warnings_shown(progress: Progress) -> Iterator[None]:
    """Show logged warnings (not epochs). While a pipeline run inside shows its messages itself, none is shown twice."""
    log, handler = logging.getLogger("ddb"), Messages(progress)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: not any(isinstance(h, Messages) and h is not handler for h in log.handlers))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def facts(stage: str, done: int, planned: int, new: int, errors: int, seconds: float) -> str:
    """`erm: 120/400 rows (30%), 12.1 rows/s, 0:23 left`. `new` rows were made in `seconds`."""
    text = f"{stage}: {done}/{planned} rows ({done / max(planned, 1):.0%}), {speed(planned - done, new, seconds)}"
    return text + (f", {errors} with an error" if errors else "")


def speed(left: int, new: int, seconds: float) -> str:
    """`12.1 rows/s, 0:23 left`."""
    rate = new / max(seconds, 1e-9)
    return f"{pace(rate)}, {clock(left / rate) if rate else '?'} left"


def pace(rate: float) -> str:
    """Rows a second, or seconds a row where that is more than one."""
    return f"{rate:.1f} rows/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/row"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
