"""Safe reading of pickle files of published data sets: containers, text and numbers only.

A pickle is a program: its opcodes may import any object and call it. What MetaShift publishes (`imageID_to_group.pkl`,
a dict of lists of text) needs none of those opcodes but `set`'s, so every other import is refused before it happens
(Python's documentation of `pickle`, "Restricting Globals"). This is the one place in ddb that unpickles.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from ddb.errors import DataError

LARGEST = 256_000_000
"""Bytes; MetaShift's file has about 60,000."""
_ALLOWED = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,  # as Python 2 wrote it
    ("__builtin__", "frozenset"): frozenset,
    ("collections", "OrderedDict"): dict,  # read as a plain dict
}


def read_plain_pickle(path: Path) -> Any:
    """The content of the file: dict, list, tuple, set, str, bytes, numbers, bool and None, nested.

    DataError if it refers to anything else (a class, a function), is damaged or larger than `LARGEST`.
    """
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path}: {path.stat().st_size / 1e6:.0f} MB is too large for a table of image names")
    try:
        return _Plain(io.BytesIO(path.read_bytes())).load()
    except _Refused as error:
        raise DataError(
            f"{path} asks Python for {error}: it may run code when opened, so it is not read. "
            "Only pickles of plain dicts, lists and text are; JSON of the same content is read too"
        ) from None
    except Exception as error:  # a damaged pickle fails in any way that an opcode can
        raise DataError(f"{path} is not a readable pickle: {type(error).__name__}: {error}") from error


class _Refused(Exception):
    """A refused import; the message is its name."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("an object outside the file")
