"""How many cores this process can use, and whether training's threads exceed what other processes leave of them.

The threads of an operation wait for each other at its end. Where one has to share its core, all wait for it: on two
cores that other processes used, a training step took 7.5 s with two threads and 1.0 s with one.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
LEAST_SECONDS = 0.5
"""Times of less than this are too coarse to tell how busy the cores are (the kernel counts hundredths of a second)."""


def usable_cores() -> int:
    """Cores that this process may use: those that it is bound to, or fewer where its control group has a quota."""
    bound = len(_bound())
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return bound
    return bound if quota == "max" else max(1, min(bound, round(int(quota) / int(period))))


@dataclass(frozen=True)
class Usage:
    """Seconds, up to now: of the clock; of processor time of all processes on this process's cores; of this process
    alone."""

    clock: float
    everyone: float
    own: float


def usage() -> Usage | None:
    """The usage at present; None where the system does not tell (other than Linux)."""
    names = {f"cpu{number}" for number in _bound()}
    try:
        lines = [line.split() for line in STAT.read_text().splitlines()]
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    # user, nice, system, idle, waiting for input and output, interrupts, soft interrupts, stolen by other machines
    busy = sum(sum(map(int, line[1:4])) + sum(map(int, line[6:9])) for line in lines if line[0] in names)
    return Usage(time.monotonic(), busy / ticks, time.process_time())


def advice(before: Usage | None, now: Usage | None, threads: int) -> str | None:
    """A line for the user where `threads` are more than the cores that other processes left between the two times;
    None where they are not, or where that is not known."""
    cores = usable_cores()
    if threads > cores:
        return f"training uses {threads} threads, but this process may use {cores} cores; {_remedy(cores)}"
    if before is None or now is None or now.clock - before.clock < LEAST_SECONDS:
        return None
    seconds = now.clock - before.clock
    others = max(0.0, (now.everyone - before.everyone - (now.own - before.own)) / seconds)
    free = max(1, round(len(_bound()) - others))
    if threads <= free:
        return None
    return (
        f"training uses {threads} threads, but other processes use {others:.1f} of the {cores} cores; {_remedy(free)}"
    )


def _remedy(threads: int) -> str:
    return f"to train faster, stop and run again with OMP_NUM_THREADS={threads}"


def _bound() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
