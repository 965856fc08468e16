"""Minutes that the parts of benches took, from the times that they logged, for the first seeds.

    python benchmarks/bench_times.py runs/bench-waterbirds runs/bench-metashift runs/bench-celeba --seeds 3

A part is done by one process, so N processes (`--processes N`, one core each) need about the N-th part of the sum. Of a
part that was made more than once the last time counts. Runs: ERM to pruning. Methods: table 1 with the search.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from ddb.bench.studies.arms import STUDIES
from ddb.engine import journal
from ddb.pipeline import STAGES

SHARED = STAGES[: STAGES.index("prune") + 1]
COLUMNS = ("runs", "methods", *STUDIES.values())


def seconds(bench: Path, seeds: int) -> Counter[str]:
    """Seconds by column of the bench's first seeds."""
    last = {}
    for event in journal.events(bench):
        if event["event"] == "fit":
            last[event["seed"], event["name"], json.dumps(event["setting"])] = event["seconds"]
    first = sorted({seed for seed, _, _ in last})[:seeds]
    found: Counter[str] = Counter()
    for (seed, name, _), took in last.items():
        if seed in first:
            study = name.split(" ")[0]
            found[study if study in COLUMNS else "methods"] += took
    for number in range(seeds):
        events = journal.events(bench / f"seed-{number}/run")
        stages = {event["stage"]: event["seconds"] for event in events if event["event"] == "finished"}
        found["runs"] += sum(stages.get(stage, 0) for stage in SHARED)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="+", type=Path, help="bench folders")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from the first (default 3)")
    args = parser.parse_args()
    if missing := [str(path) for path in args.benches if not (path / "events.jsonl").is_file()]:
        parser.error(f"no events.jsonl in {', '.join(missing)}; let `ddb bench` finish first")
    print(f"| Bench | {' | '.join(COLUMNS)} | sum |\n|---{'|---:' * (len(COLUMNS) + 1)}|")
    for bench in args.benches:
        took = seconds(bench, args.seeds)
        shown = [*(took[column] for column in COLUMNS), took.total()]
        print(f"| {bench.name} | {' | '.join(f'{value / 60:.1f}' if value else '–' for value in shown)} |")


if __name__ == "__main__":
    main()
