"""A file whose hash is in the store is not read; one that has changed, or may have, is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ddb.backends import content
from ddb.backends.content import file_hash, hashes_kept


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, of which all are old enough."""
    found: list[str] = []
    plain = hashlib.file_digest

    def digest(file: object, name: str) -> object:
        found.append(Path(file.name).name)  # type: ignore[attr-defined]
        return plain(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(content.hashlib, "file_digest", digest)
    monkeypatch.setattr(content, "SETTLED", -1)
    return found


def hashed(monkeypatch: pytest.MonkeyPatch, store: Path, *paths: Path) -> list[str]:
    """Hashes as a new process finds them."""
    monkeypatch.setattr(content, "_known", content._Known())
    with hashes_kept(store):
        return [file_hash(path) for path in paths]


def test_a_second_process_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    one, two, store = tmp_path / "one", tmp_path / "zw\udce9i", tmp_path / "cache" / "hashes.json"
    one.write_bytes(b"1"), two.write_bytes(b"2")
    wanted = [hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()]
    assert hashed(monkeypatch, store, one, two, one) == [*wanted, wanted[0]]
    assert read == [one.name, two.name]
    assert hashed(monkeypatch, store, one, two) == wanted
    assert len(read) == 2


@pytest.mark.parametrize("how", ["content", "content, time set back", "another file in its place"])
def test_a_file_that_changed_is_read(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    path, store = tmp_path / "weights", tmp_path / "hashes.json"
    path.write_bytes(b"old")
    hashed(monkeypatch, store, path)
    times = path.stat()
    if how == "another file in its place":
        (tmp_path / "new").write_bytes(b"new")
        os.replace(tmp_path / "new", path)
    else:
        path.write_bytes(b"new")
    if how != "content":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hashed(monkeypatch, store, path) == [hashlib.sha256(b"new").hexdigest()]


def test_a_file_hashed_while_it_is_fresh_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    """It could be written once more without a new time."""
    monkeypatch.setattr(content, "SETTLED", 10**12)
    path, store = tmp_path / "weights", tmp_path / "hashes.json"
    path.write_bytes(b"x")
    hashed(monkeypatch, store, path)
    hashed(monkeypatch, store, path)
    assert len(read) == 2


@pytest.mark.parametrize("damage", ["", "{", "[1]", '[["a"]]', '{"a": 1}', "null"])
def test_a_damaged_store_is_ignored(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    path, store = tmp_path / "weights", tmp_path / "hashes.json"
    path.write_bytes(b"x")
    store.write_text(damage)
    assert hashed(monkeypatch, store, path) == [hashlib.sha256(b"x").hexdigest()]
    assert hashed(monkeypatch, store, path) == [hashlib.sha256(b"x").hexdigest()]
    assert len(read) == 1
