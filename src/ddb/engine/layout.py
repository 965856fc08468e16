"""Names of files in a run folder, and the check of the version of ddb that made it."""

from __future__ import annotations

from pathlib import Path

from ddb.errors import DDBError

CURRENT = "current.json"
PLAN, PLANNED, DONE = "plan.json", "planned.parquet", "done.json"
ASIDE = "aside.parquet"
FIRST_PART = "part-00000.parquet"
PARTS = "part-*.parquet"
STAGE_FOLDERS = "[0-9]*-*"


def refuse_older(root: Path) -> None:
    """DDBError where `root` is a run folder of a version that had one result a stage, in the stage's folder itself."""
    for pattern in (PLAN, DONE, PARTS):
        if old := next(root.glob(f"{STAGE_FOLDERS}/{pattern}"), None):
            raise DDBError(
                f"{root}: a run folder of an older version of ddb (its results lie in {old.parent.name}/ itself). It "
                "is left as it is: choose another --out, or use that version to read it."
            )


def part_name(number: int) -> str:
    """File name of a part: 0 is the first."""
    return f"part-{number:05d}.parquet"


def part_number(path: Path) -> int:
    """The number of a part."""
    return int(path.stem.removeprefix("part-"))


def numbered(folder: Path) -> list[Path]:
    """The parts of a result, oldest first."""
    return sorted(folder.glob(PARTS), key=part_number)
