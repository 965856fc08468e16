"""Advice on threads, from times of processors that are made up."""

from __future__ import annotations

import os

import pytest

from ddb.learn import cores
from ddb.learn.cores import Usage


@pytest.fixture
def four_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "_bound", lambda: {0, 1, 2, 5})
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_cores_are_those_that_a_quota_leaves(four_cores, quota, expected):
    assert cores.usable_cores() == 4
    cores.QUOTA.write_text(quota)
    assert cores.usable_cores() == expected


def test_more_threads_than_cores(four_cores):
    cores.QUOTA.write_text("200000 100000")
    assert "4 threads, but this process may use 2 cores" in cores.advice(None, None, 4)
    assert "OMP_NUM_THREADS=2" in cores.advice(None, None, 4)
    assert cores.advice(None, None, 2) is None


@pytest.mark.parametrize(
    ("others", "threads", "advised"),
    [(0.0, 4, None), (0.3, 4, None), (2.0, 4, 2), (2.0, 2, None), (3.9, 4, 1), (8.0, 4, 1), (4.0, 1, None)],
)
def test_threads_that_other_processes_leave_no_core_to(four_cores, others, threads, advised):
    """Ten seconds in which this process used 15 s of processor time, and the others `others` cores."""
    before, now = Usage(100, 5000, 70), Usage(110, 5000 + 15 + 10 * others, 85)
    words = cores.advice(before, now, threads)
    assert (words is None) == (advised is None)
    if words:
        assert words.endswith(f"OMP_NUM_THREADS={advised}")
        assert f"other processes use {others:.1f} of the 4 cores" in words


def test_nothing_is_said_of_a_moment_or_of_what_is_not_known(four_cores):
    assert cores.advice(Usage(0, 0, 0), Usage(0.2, 2, 0), 4) is None
    assert cores.advice(None, Usage(10, 40, 0), 4) is None


def test_usage_counts_this_process_and_the_cores_that_it_is_bound_to(four_cores, monkeypatch):
    stat = four_cores / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\n"
        + "".join(f"cpu{n} 100 20 3 77777 88888 {n} 0 50 7 0\n" for n in range(6))
        + "intr 5 5\n"
    )
    monkeypatch.setattr(cores, "STAT", stat)
    found = cores.usage()
    ticks = 4 * (100 + 20 + 3 + 0 + 50) + 0 + 1 + 2 + 5
    assert found.everyone == pytest.approx(ticks / os.sysconf("SC_CLK_TCK"))
    start = cores.usage().own
    sum(range(3_000_000))
    assert cores.usage().own > start
    monkeypatch.setattr(cores, "STAT", four_cores / "absent")
    assert cores.usage() is None
