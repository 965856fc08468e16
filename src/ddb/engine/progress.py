"""Progress of a run: a bar with rate and remaining time on a terminal, lines with the same facts elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

LINE_SECONDS = 5.0


class Progress(Protocol):
    """Receives the progress of stages from the runner; `say` shows further lines (epochs, losses)."""

    def start(self, stage: str, planned: int, done: int) -> None: ...

    def advance(self, rows: int, errors: int) -> None: ...

    def stop(self, state: str) -> None: ...

    def skip(self, stage: str, planned: int) -> None: ...

    def say(self, text: str) -> None: ...


def open_progress(stream: TextIO) -> Progress:
    """A bar where `stream` is a terminal, lines otherwise."""
    return Bar(stream) if stream.isatty() else Lines(stream)


class Lines:
    """A line when a stage starts and ends, and one every few seconds between."""

    def __init__(self, stream: TextIO, every: float = LINE_SECONDS) -> None:
        self._stream, self._every = stream, every
        self._stage, self._planned, self._done, self._new, self._errors = "", 0, 0, 0, 0
        self._started = self._last = 0.0

    def start(self, stage: str, planned: int, done: int) -> None:
        self._stage, self._planned, self._done, self._new, self._errors = stage, planned, done, 0, 0
        self._started = self._last = time.monotonic()
        self.say(f"{stage}: {planned} rows planned" + (f", {done} there already" if done else ""))

    def advance(self, rows: int, errors: int) -> None:
        self._done, self._new, self._errors = self._done + rows, self._new + rows, self._errors + errors
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self.say(facts(self._stage, self._done, self._planned, self._new, self._errors, now - self._started))

    def stop(self, state: str) -> None:
        seconds = time.monotonic() - self._started
        failed = f", {self._errors} with an error" if self._errors else ""
        self.say(f"{self._stage}: {state}, {self._done} of {self._planned} rows{failed}, {clock(seconds)}")

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
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._task: bars.TaskID | None = None
        self._stage, self._started, self._new, self._errors = "", 0.0, 0, 0

    def start(self, stage: str, planned: int, done: int) -> None:
        self._stage, self._started, self._new, self._errors = stage, time.monotonic(), 0, 0
        self._task = self._bars.add_task(stage, total=planned, completed=done, rate="", note="")
        self._bars.start()

    def advance(self, rows: int, errors: int) -> None:
        assert self._task is not None, "advance comes after start"
        self._new, self._errors = self._new + rows, self._errors + errors
        rate = self._new / max(time.monotonic() - self._started, 1e-9)
        note = f"{self._errors} with an error" if self._errors else ""
        self._bars.update(self._task, advance=rows, rate=pace(rate), note=note)

    def stop(self, state: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=f"{self._stage}: {state}")
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
    rate = new / max(seconds, 1e-9)
    left = clock((planned - done) / rate) if rate else "?"
    text = f"{stage}: {done}/{planned} rows ({done / max(planned, 1):.0%}), {pace(rate)}, {left} left"
    return text + (f", {errors} with an error" if errors else "")


def pace(rate: float) -> str:
    """Rows a second, or seconds a row where that is more than one."""
    return f"{rate:.1f} rows/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/row"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
