"""How a command ends: what people read on stderr, and the exit code.

0    done
1    an error that the user can mend: a line `ddb: ` with what is wrong, where, and the remedy
2    wrong command line (typer prints the message)
70   a fault of ddb: one line that names the file with the traceback
130  Ctrl-C; 143: SIGTERM; 141: the reader of stdout has ended, such as `head`
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ddb.errors import DDBError, Interrupted

BUG, BROKEN_PIPE = 70, 141
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
OTHERS = (
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE, errno.EMFILE),
    *(errno.ENFILE, errno.ENOMEM, errno.ETXTBSY, errno.EBUSY, errno.ENODEV, errno.ENXIO),
)
"""Other errors of a file system or machine, which are no faults of ddb."""


class Fault(Exception):
    """An unexpected exception. `path`: of the file with its traceback; None: it could not be written."""

    def __init__(self, cause: Exception, path: Path | None) -> None:
        super().__init__(f"{type(cause).__name__}: {_first_line(cause)}")
        self.path = path


@contextmanager
def faults_logged(folder: Path) -> Iterator[None]:
    """Keep the traceback of an unexpected exception in errors.log of the run folder, and raise `Fault` in its place."""
    try:
        yield
    except (DDBError, BrokenPipeError):
        raise
    except Exception as error:
        if _of_the_machine(error):
            raise
        raise Fault(error, _log(error, folder)) from error


def finish(command: Callable[[], None]) -> None:
    """Call the command line and leave the process: messages and exit codes as above, and never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character shows its number
    code: object = 0
    try:
        try:
            command()
        except SystemExit as left:
            if isinstance(left.__context__, BrokenPipeError):
                raise left.__context__ from None
            code = left.code
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        code = BROKEN_PIPE
    except DDBError as error:
        code = _print_error(str(error), error.exit_code if isinstance(error, Interrupted) else 1)
    except Fault as fault:
        code = _print_fault(fault)
    except Exception as error:
        code = (
            _print_error(_of_the_machine(error), 1)
            if _of_the_machine(error)
            else _print_fault(Fault(error, _log(error)))
        )
    sys.exit(code)  # type: ignore[arg-type]


def _print_error(message: str, code: int) -> int:
    print(f"ddb: {message}", file=sys.stderr)
    return code


def _print_fault(fault: Fault) -> int:
    where = f"its traceback is in {fault.path}" if fault.path else "its traceback could not be written to any file"
    return _print_error(f"a fault of ddb itself, {fault}; {where}. What was computed before is kept.", BUG)


def _of_the_machine(error: Exception) -> str:
    """The message and remedy for an error of a file or the machine; "" for any other error."""
    if isinstance(error, MemoryError):
        return "this machine's memory is full: lower batch_size, or close other programs."
    if not isinstance(error, OSError):
        return ""
    file = error.filename2 or error.filename
    where = f"{os.fsdecode(file)}: " if isinstance(file, str | bytes | os.PathLike) else ""
    reason = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return f"{where}no room left on the disk ({reason}). Make room and run the same command again."
    if error.errno in FORBIDDEN:
        return f"{where}cannot be read or written ({reason}). Change its permissions, or name another place."
    return f"{where}{reason}" if error.errno in OTHERS else ""


def _log(error: Exception, folder: Path | None = None) -> Path | None:
    """Write the traceback into errors.log of the run folder, or into a new file in the temporary folder."""
    text = "".join(traceback.format_exception(error))
    if folder is not None and folder.is_dir():
        from ddb.engine.journal import ERRORS

        moment = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with open(folder / ERRORS, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{moment} command: {shlex.join(sys.argv)}\n{text}")
        except OSError:
            return _log(error)
        return folder / ERRORS
    try:
        handle, name = tempfile.mkstemp(".log", "ddb-")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return Path(name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"


def _forget_output() -> None:
    """Redirect stdout to the null device, so that the interpreter's last flush does not fail on a closed pipe."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nothing, stream.fileno())
        except (AttributeError, OSError, ValueError):
            continue
