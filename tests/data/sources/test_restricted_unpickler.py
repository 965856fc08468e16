"""Pickles of other people: plain ones are read, those that would do something are refused before they do it."""

from __future__ import annotations

import copyreg
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from ddb.data.sources import restricted_unpickler
from ddb.data.sources.restricted_unpickler import read_plain_pickle
from ddb.errors import DataError

PLAIN = {
    "2370806": ["cat(indoor)", "cat(bed)"],
    "sets": {"a", "b"},
    "frozen": frozenset({1}),
    "nested": [({"x": None}, True, 1.5, b"bytes")],
}


class Calls:
    """Pickles as a call of `function` with `arguments` (what `__reduce__` is abused for)."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class Thing:
    """An object of a class; without `__reduce__` it is rebuilt by copyreg."""


def stored(path: Path, value: Any, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_content_is_read(tmp_path: Path, protocol: int) -> None:
    value = {key: PLAIN[key] for key in PLAIN if protocol >= 3 or key != "nested"}  # bytes need a function before 3
    assert read_plain_pickle(stored(tmp_path / "a.pkl", value, protocol)) == value
    ordered = OrderedDict(a=["cat(indoor)"], b=["dog(outdoor)"])
    assert read_plain_pickle(stored(tmp_path / "b.pkl", ordered, protocol)) == dict(ordered)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("attack", "asked"),
    [
        (lambda mark: Calls(os.system, f"touch {mark}"), "posix.system"),
        (lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"), "exec"),
        (lambda mark: Calls(os.mkdir, str(mark)), "posix.mkdir"),
        (lambda mark: Calls(getattr, {}, "keys"), "getattr"),
        (lambda mark: Calls(copyreg._reconstructor, object, object, None), "copy_?reg"),  # type: ignore[attr-defined]
        (lambda mark: {"cat": [Thing()]}, "copy_?reg|Thing"),
    ],
)
def test_everything_else_is_refused_and_not_run(tmp_path: Path, protocol: int, attack: Any, asked: str) -> None:
    mark = tmp_path / "was_here"
    path = stored(tmp_path / "evil.pkl", attack(mark), protocol)
    with pytest.raises(DataError, match=rf"evil\.pkl asks Python for .*({asked}).*may run code when opened"):
        read_plain_pickle(path)
    assert not mark.exists()
    if "os" in asked or "posix" in asked or asked in ("eval", "exec"):  # the attack is real: pickle itself falls for it
        pickle.loads(path.read_bytes())
        assert mark.exists()


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", pickle.dumps(PLAIN)[:-9], b"\x80\x04\x95", b"cos\nsystem\n.", b"(i", b"\x82\x01."]
)
def test_damaged_files_are_refused_with_a_message(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.pkl (is not a readable pickle|asks Python for)"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_references_outside_the_file_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pkl").write_bytes(b"Psomething\n.")
    with pytest.raises(DataError, match="an object outside the file"):
        read_plain_pickle(tmp_path / "a.pkl")
    monkeypatch.setattr(restricted_unpickler, "LARGEST", 5)
    with pytest.raises(DataError, match="too large for a table of image names"):
        read_plain_pickle(tmp_path / "a.pkl")
