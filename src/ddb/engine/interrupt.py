"""Ctrl-C and SIGTERM. The first drops the batch in flight (never a write); the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ddb.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop(KeyboardInterrupt):
    """Raised where the signal arrives. It is no Exception, so that no stage handles it as a failed row."""


class _State:
    received: int = 0
    shields: int = 0


_state = _State()


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if _state.received:
        os._exit(128 + number)
    _state.received = number
    if not _state.shields:
        raise _Stop


@contextmanager
def guarded() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM inside into `Interrupted`. Outside of the main thread it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.received = 0
    before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    try:
        yield
    except _Stop:
        name = signal.Signals(_state.received).name
        message = (
            f"stopped by {name}: the batch in flight was dropped, everything before it is saved. Run again to go on."
        )
        raise Interrupted(message, exit_code=128 + _state.received) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.received = 0


@contextmanager
def shielded() -> Iterator[None]:
    """Delay a signal until the end of the block, for writes."""
    _state.shields += 1
    try:
        yield
    finally:
        _state.shields -= 1
    if _state.received and not _state.shields:
        raise _Stop
