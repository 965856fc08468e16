"""A run that is killed, interrupted or out of disk loses the batch in flight at most, and ends like an unbroken one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toy_stages as toy

from ddb.engine import journal
from ddb.stage import Batch

SCRIPT = Path(toy.__file__)


def start(root: Path, *options: str) -> subprocess.Popen[str]:
    source = Path(toy.buffer.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root), *options],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def unbroken(root: Path) -> dict[str, str]:
    toy.run(root, toy.numbers(count=18), toy.squares(), toy.total())
    return toy.tree(root)


def wait_for_rows(root: Path, rows: int) -> None:
    """Until `numbers` has begun with its row number `rows`."""
    log, limit = root.parent / f"{root.name}.computed", time.monotonic() + 120
    while not log.exists() or len(log.read_text().split()) < rows:
        assert time.monotonic() < limit, "the toy run did not begin"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "operations"),
    [
        pytest.param("6", 60, id="new"),  # parts, renames, syncs, removals of three stages
        pytest.param("8 3 6", 30, id="rows aside"),  # three come back from there, two stay
        pytest.param("3 6", 30, id="grown"),
    ],
)
def test_killed_before_any_file_operation(tmp_path: Path, counts: str, operations: int) -> None:
    process = start(tmp_path, "--every-operation", *counts.split())
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert int(out) > operations


def test_killed_at_random_times(tmp_path: Path) -> None:
    wanted, root, draw, kills = unbroken(tmp_path / "unbroken"), tmp_path / "killed", random.Random(0), 0
    begun = 0
    while kills < 4:
        process = start(root, "--seconds", "0.05")
        wait_for_rows(root, begun + 1)
        time.sleep(draw.uniform(0, 0.12))
        process.kill()
        process.communicate()
        begun, kills = len(toy.computed(root)), kills + 1
    process = start(root)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert toy.tree(root) == wanted
    assert len(toy.computed(root)) <= 18 + 4 * kills


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(tmp_path: Path, number: signal.Signals, code: int) -> None:
    wanted, root = unbroken(tmp_path / "unbroken"), tmp_path / "run"
    process = start(root, "--seconds", "0.4")
    wait_for_rows(root, 5)  # in the second batch
    process.send_signal(number)
    began = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - began < 2
    assert process.returncode == code
    assert errors.count("\n") == 1
    assert number.name in errors
    (part,) = (root / "1-numbers").glob("*/part-*.parquet")
    assert pq.read_table(part)["id"].to_pylist() == ["0", "1", "2", "3"]
    assert '"event": "interrupted"' in (root / "events.jsonl").read_text()
    _, errors = start(root).communicate(timeout=120)
    assert toy.tree(root) == wanted


@pytest.fixture
def python_handles_interrupts() -> Iterator[None]:
    """As in a terminal: a shell that starts the tests in the background has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_handles_interrupts")
def test_rows_that_wait_for_their_part_are_written_when_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy.buffer, "PART_SECONDS", 1000.0)

    def stop_in_third_batch(batch: Batch) -> None:
        if "8" in batch:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(toy.Interrupted) as caught:
        toy.run(tmp_path, toy.numbers(before=stop_in_third_batch))
    assert caught.value.exit_code == 130
    assert list(toy.Workspace(tmp_path, toy.NAMES).rows("numbers")) == [str(n) for n in range(8)]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_disk_full_during_a_part(tmp_path: Path) -> None:
    wanted, root = unbroken(tmp_path / "unbroken"), tmp_path / "run"
    process = start(root, "--largest-file", "30000")  # rows 0-7 fit, rows 8-11 have 38 kB of blobs
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert str(root / "1-numbers") in errors
    assert "no room left" in errors
    assert errors.count("\n") == 1
    assert not list(root.rglob("*.tmp"))
    assert list(toy.Workspace(root, toy.NAMES).rows("numbers")) == [str(n) for n in range(8)]
    process = start(root)
    assert process.wait(120) == 0
    assert toy.tree(root) == wanted
    assert toy.computed(root).count("7") == 1


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with journal.locked(tmp_path):
        process = start(tmp_path)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "another ddb process" in errors
