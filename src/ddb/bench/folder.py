"""The bench folder.

    bench.json              format, version of ddb, and the settings that all records share
    seed-0/run/             a run folder of ddb, whose stages all methods share (`ddb.pipeline`)
    seed-0/variants/NAME/   run folders of ddb with other settings; it uses the finished stages of run/
    seed-0/fits/*.json      one fit with its validation figures; beside it its classifier
    seed-0/scores/*.json    test figures of a chosen fit, or of an arm of a study
    oracle/                 the classifier that recognises what counterfactuals show (built-in worlds)
    events.jsonl            times
    results.csv  results.json  tables/*.tex  bench.html

A record is written whole or not at all. Its name holds the fingerprint of what it was made from, so records of other
settings are never read. Nothing in a record depends on the clock.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb import __version__
from ddb.engine import files
from ddb.engine.interrupt import shielded
from ddb.errors import DDBError

FORMAT = 2
HEADER = "bench.json"
Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """Identifies a record: `kind` ("fits" or "scores"), the seed's number, a name for people, and the fingerprint."""

    kind: str
    seed: int
    name: str
    fingerprint: str

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return f"{self.name}-{self.fingerprint[:12]}"


@dataclass(frozen=True)
class Folder:
    """The bench folder at `root`."""

    root: Path

    def claim(self, shared: Record) -> None:
        """Start the folder, or resume it. DDBError where its records belong to another version or other settings."""
        found = files.read_json(self.root / HEADER)
        if found is None:
            if (self.root / "seed-0").exists():
                raise DDBError(f"{self.root}: {HEADER} is missing, so the settings of its results are unknown. {_NEW}")
            with shielded():
                files.write_json(self.root / HEADER, {"format": FORMAT, "ddb": __version__, "shared": shared})
            return
        made_by = found.get("format"), found.get("ddb")
        if made_by != (FORMAT, __version__):
            raise DDBError(
                f"{self.root}: made by ddb {made_by[1]} (bench format {made_by[0]}); this is {__version__} "
                f"(format {FORMAT}), and their results must not be mixed. {_NEW}"
            )
        changed = _differences(found.get("shared", {}), json.loads(json.dumps(shared)))
        if changed:
            raise DDBError(f"{self.root}: was made with other settings ({'; '.join(changed[:3])}). {_NEW}")

    def seed(self, number: int) -> Path:
        """The folder of a seed, counted from 0."""
        return self.root / f"seed-{number}"

    def path(self, key: Key) -> Path:
        return self.seed(key.seed) / key.kind / f"{key.stem}.json"

    def read(self, key: Key) -> Record | None:
        """The record; None where it does not exist."""
        return files.read_json(self.path(key))

    def write(self, key: Key, record: Record) -> Record:
        """Write a record with its fingerprint; returns it as `read` does."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with shielded():
            files.write_json(path, {**record, "fingerprint": key.fingerprint})
        found = files.read_json(path)
        assert found is not None, "written just now"
        return found


def fingerprint(made_from: object) -> str:
    """SHA-256 of what a record is made from (JSON-able)."""
    text = json.dumps([FORMAT, made_from], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_NEW = "Choose another --out, or delete the folder."


def _differences(old: Record, new: Record, prefix: str = "") -> list[str]:
    """`a.b: 1 there, 2 now` for every leaf that differs."""
    found = []
    for name in sorted({*old, *new}):
        one, two = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(two, dict):
            found += _differences(one, two, f"{prefix}{name}.")
        elif one != two:
            found.append(f"{prefix}{name}: {one} there, {two} now")
    return found
