"""How a command ends: exit codes, what is said, where tracebacks go, what a terminal cannot show."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddb import cli as entry
from ddb.cli import app as cli
from ddb.cli import outcome

SCRIPT = [sys.executable, "-c", "from ddb.cli import main; main()"]


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> object:
    """The exit code of a verb whose library function raises `error`."""
    from ddb import pipeline

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    monkeypatch.setattr(pipeline, "status", fail)
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_a_bug_in_a_run_is_one_line_and_its_traceback_lies_in_the_run_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "errors.log").write_text("before\n")
    error = TypeError("unsupported operand\nsecond line")
    assert ends(monkeypatch, error, "run", "pocket-waterbirds", "--out", str(out)) == 70
    (line,) = capsys.readouterr().err.splitlines()
    kept = "What was computed before is kept."
    log = out / "errors.log"
    assert line == f"ddb: a fault of ddb itself, TypeError: unsupported operand; its traceback is in {log}. {kept}"
    text = log.read_text()
    assert text.startswith("before\n")
    assert f"ddb run pocket-waterbirds --out {out}\nTraceback (most recent call last)" in text
    assert "TypeError: unsupported operand\nsecond line" in text


@pytest.mark.parametrize("arguments", [["run", "pocket-waterbirds", "--out", "gone"], ["status", "gone"]])
def test_a_bug_without_a_run_folder_leaves_its_traceback_among_temporary_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outcome.tempfile, "tempdir", str(tmp_path))
    assert ends(monkeypatch, KeyError("x"), *arguments) == 70
    (line,) = capsys.readouterr().err.splitlines()
    (log,) = tmp_path.glob("ddb-*.log")
    assert str(log) in line
    assert "KeyError: 'x'" in log.read_text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/data/run"), "/data/run: cannot be read or written (Read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "/data: cannot be read or written (Permission"),
        (OSError(errno.ENOSPC, "No space left on device"), "no room left on the disk"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "x: File name too long"),
        (MemoryError(), "memory is full"),
    ],
    ids=["read-only", "forbidden", "full", "long", "memory"],
)
@pytest.mark.parametrize("verb", ["run", "status"])
def test_what_the_machine_refuses_is_no_bug(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    words: str,
    verb: str,
) -> None:
    rest = ["pocket-waterbirds", "--out", str(tmp_path)] if verb == "run" else [str(tmp_path)]
    assert ends(monkeypatch, error, verb, *rest) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddb: ") and words in line
    assert not list(tmp_path.iterdir())


def test_the_python_interface_keeps_raising(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ddb import pipeline, run_folder
    from ddb.config.load import load_config

    def fail(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(run_folder, "open_run", fail)
    with pytest.raises(TypeError, match="a bug"):
        pipeline.run(load_config("pocket-waterbirds"), tmp_path / "run")


def test_ctrl_c_before_a_run_starts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(monkeypatch, KeyboardInterrupt(), "run", "pocket-waterbirds") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_while_the_command_is_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading:
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ddb.cli.app", Loading())
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == 130


def test_output_that_nobody_reads_ends_the_command_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*SCRIPT, "config", "schema"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_device_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*SCRIPT, "config", "schema"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("ddb: no room left") and len(done.stderr.splitlines()) == 1


def test_a_terminal_without_the_characters_shows_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with pytest.raises(SystemExit) as caught:
        outcome.finish(lambda: print("猫, a file \udcff"))
    assert not caught.value.code
    assert raw.getvalue() == b"\\u732b, a file \\udcff\n"


def test_a_question_without_an_answer_removes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ddb.errors import DDBError

    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(DDBError, match="--yes removes without asking"):
        cli._confirmed("Remove them?")
