"""From the path of an image in a metadata file to its path below the data folder.

The rule for absolute paths, which come from the machine that wrote the file: the longest trailing part that names a
file below the data folder is taken, so `/home/me/data/train/cat/1.jpg` is found as `train/cat/1.jpg`, or else as
`cat/1.jpg`, or else as `1.jpg`. A path that matches nothing is unchanged and refused later (`resolve_inside`); nothing
outside the data folder is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ddb.data.images import resolve_inside
from ddb.errors import DataError


def located(root: Path, names: Sequence[str], folders: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """(paths relative to `root`, notes). `folders`: where below `root` the layout may keep its images; the first one
    that holds the first image is put before every relative path, if `root` itself does not hold it."""
    plain = [name.strip().replace("\\", "/") for name in names]
    before = _folder_of(root, plain, folders)
    found, moved = [], []
    for name in plain:
        if not is_absolute(name):
            found.append(f"{before}{name}" if before and name else name)
            continue
        below = trailing_part(root, name)
        found.append(below or name)
        if below:
            moved.append((name, below))
    notes = []
    if moved:
        name, below = moved[0]
        notes = [f"{len(moved)} absolute paths were found in {root} by their last parts, e.g. {name} as {below}"]
    return found, notes


def is_absolute(name: str) -> bool:
    """Whether a path with "/" is absolute, on this system or on Windows."""
    return name.startswith("/") or bool(PureWindowsPath(name).drive)


def trailing_part(root: Path, name: str) -> str | None:
    """The longest end of an absolute path that is a file below `root`; None: there is none, or it climbs with ".."."""
    parts = PurePosixPath(name).parts[1:]  # without "/" or "C:"
    if ".." in parts:
        return None
    return next((end for start in range(len(parts)) if _is_file(root, end := "/".join(parts[start:]))), None)


def _folder_of(root: Path, names: Sequence[str], folders: Sequence[str]) -> str:
    first = next((name for name in names if name and not is_absolute(name)), None)
    if first is None or _is_file(root, first):
        return ""
    return next((f"{folder}/" for folder in folders if _is_file(root, f"{folder}/{first}")), "")


def _is_file(root: Path, relative: str) -> bool:
    try:
        return resolve_inside(root, relative).is_file()
    except (DataError, OSError, ValueError):  # leads out of the root; too long a name; a zero byte
        return False
