"""Names of splits in data sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
}
"""Word -> one of `SPLITS`: those that Hugging Face `datasets` knows (data_files.py), and more."""
USUAL = "train, val (valid, validation, dev), test (testing, eval, holdout)"
"""For messages."""
_FILLERS = {"set", "data", "dataset", "image", "images", "img", "imgs", "split", "seg", "folder", "files", "samples"}
_ENDINGS = ("set", "data", "images", "imgs", "split")
_HOLDOUT = re.compile(r"h(?:o|e)ld[-_. ]*out")


def split_named(name: str) -> str | None:
    """The split that a name means: "train", "val", "test" or None. Case, separators, numbers and words such as "set" or
    "images" are ignored: Training, train2017, test_set and TestImages are names of splits; "test tube" and "train_val"
    are not."""
    words = split_words(name)
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    others = [word for word in words if word not in SPLIT_WORDS and word not in _FILLERS]
    return found.pop() if len(found) == 1 and not others else None


def split_words(text: str) -> list[str]:
    """The words of a name or path in lower case; "trainset" becomes train."""
    words = re.split(r"[\W_\d]+", _HOLDOUT.sub("holdout", text.strip().casefold()))
    return [_stem(word) for word in words if word]


def _stem(word: str) -> str:
    stems = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    return next((stem for stem in stems if stem in SPLIT_WORDS), word)


def split_in_path(path: str) -> str | None:
    """The split that the last word with such a meaning in a path names; None without one."""
    words = [word for word in split_words(path) if word in SPLIT_WORDS]
    return SPLIT_WORDS[words[-1]] if words else None


def splits_of_paths(paths: Sequence[str]) -> list[str | None]:
    """The split of each path as in `datasets`: by the names of folders; where no folder has the name of a split, by the
    names of files, if one of them contains "train"."""
    folders = [split_in_path(path.rpartition("/")[0]) for path in paths]
    if any(folders):
        return folders
    files = [split_in_path(path.rpartition("/")[2].rpartition(".")[0]) for path in paths]
    return files if "train" in files else folders


class UnknownSplits:
    """Looks up names of splits, and counts the rows of unknown ones, which are skipped."""

    def __init__(self, codes: Mapping[str, str] | None = None) -> None:
        """`codes`: further names of a layout -> one of `SPLITS`."""
        self._codes = codes or {}
        self._rows: Counter[str] = Counter()

    def look_up(self, name: str) -> str | None:
        """One of `SPLITS`; None where the name is unknown, and the row is counted."""
        plain = name.strip().casefold()
        split = self._codes.get(plain) or split_named(plain)
        if split is None:
            self._rows[name.strip()] += 1
        return split

    def notes(self) -> list[str]:
        """A line for each unknown name, in the order of the names."""
        return [f"{rows} rows of the split {name!r} are passed over" for name, rows in sorted(self._rows.items())]
