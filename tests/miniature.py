"""The whole method in miniature: few small images, copy-paste with given masks, nothing that needs trained weights.

As a script it kills such runs (SIGKILL) at random moments, resumes them and compares what is left with an unbroken run.
It imports torch once and forks a child for every attempt. `benchmarks/kill.py` does so many times.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddb.config import PocketConfig, RunConfig
from ddb.engine import buffer, journal
from ddb.engine.progress import Lines

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
SIZES = PocketConfig(train=60, val=24, test=24)
TIMES = ("events.jsonl", "errors.log", "report.html", ".lock")
"""Files of a run folder that may hold times."""
DIFFUSION: dict[str, Any] = {
    "invert": {"representatives": 4, "steps": 2, "check_every": 2, "batch_size": 2, "vectors": 1},
    "inpaint": {
        "backend": "latent_diffusion", "weights": "pocket", "image_size": 64, "steps": 2, "guidance": 2, "per_class": 4,
        "batch_size": 3,
    },
}  # fmt: skip
"""`changes` of `configuration`: tokens are learned and images painted with the built-in diffusion model, in 2 steps."""


def configuration(birds: Path, **changes: Any) -> RunConfig:
    """`birds`: a folder that `draw` made. `changes` replace keys of a section: erm={"epochs": 1}; with another backend,
    all of them."""
    fit = {"epochs": 2, "batch_size": 16, "augment": {"blur": 0.2, "colour": 0.2, "noise": 4}}
    tree: dict[str, Any] = {
        "name": "miniature",
        "device": "cpu",
        "data": {"source": "waterbirds", "root": str(birds), "phrase": "bird"},
        "erm": {**fit, "backbone": "test_resnet", "weights": "none", "image_size": 32, "selection": "worst_group"},
        "segment": {"backend": "given", "masks": str(birds / "masks"), "batch_size": 8},
        "inpaint": {"backend": "copy_paste", "batch_size": 6},
        "score": {"batch_size": 8, "maps": 2, "ig_steps": 4},
        "prune": {"max_rounds": 2},
        "retrain": {**fit, "generated_batch": 4, "selection": "worst_class"},
        "evaluate": {"batch_size": 16},
    }
    for section, keys in changes.items():
        kept = tree.get(section, {}) if isinstance(keys, dict) and "backend" not in keys else {}
        tree[section] = {**kept, **keys} if isinstance(keys, dict) else keys
    return RunConfig.model_validate(tree)


def draw(folder: Path) -> Path:
    """The pocket world's birds, in Waterbirds' layout, with masks."""
    from ddb.pocket.datasets import write_pocket

    return write_pocket(folder, SIZES)


def tree(root: Path) -> dict[str, str]:
    """Hash of every file of a run folder that may not hold times; caches are left out."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in TIMES
        for name in [path.relative_to(root).as_posix()]
        if not name.startswith("cache/")
    }


def computed(root: Path) -> Counter[str]:
    """Rows that the latest run of a folder has computed, by stage."""
    events = journal.events(root)
    latest = max(number for number, event in enumerate(events) if event["event"] == "run")
    rows: Counter[str] = Counter()
    for event in events[latest:]:
        if event["event"] == "part":
            rows[event["stage"]] += event["rows"]
    return rows


def run(config: RunConfig, out: Path, **keywords: str) -> Path:
    """A run whose progress is not shown."""
    from ddb import pipeline

    return pipeline.run(config, out, progress=Lines(io.StringIO()), **keywords)  # type: ignore[arg-type]


def attempt(config: RunConfig, root: Path) -> int:
    """Start or resume a run in a child process; its process id."""
    child = os.fork()
    if child:
        return child
    log = os.open(root.parent / f"{root.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        from ddb import pipeline

        pipeline.run(config, root)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def steps(root: Path) -> list[dict[str, Any]]:
    """Events that are progress."""
    return [event for event in journal.events(root) if event["event"] not in ("run", "skipped")]


def moment(root: Path) -> str:
    """What a killed run was at: a stage, "opening" (reading the data, looking at what is there) or "handing over"."""
    events = journal.events(root)
    last = events[-1] if events else {"event": "run"}
    if last["event"] == "finished" and last["stage"] == STAGES[-1]:
        return "handing over"
    return "opening" if last["event"] in ("run", "skipped") else str(last["stage"])


def kill_after(child: int, root: Path, events: int, seconds: float) -> bool:
    """SIGKILL the child `seconds` after its `events`-th step. False if it had finished by then."""
    while len(steps(root)) < events:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            assert status == 0, (root.parent / f"{root.name}.log").read_text()[-3000:]
            return False
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@dataclass
class Killed:
    """`kills`: how many, by what the run was at; `runs` that were killed and brought to their end; `files` that were
    compared in each, and those that `differ` from an unbroken run's in any."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    files: list[str] = field(default_factory=list)
    differ: set[str] = field(default_factory=set)


def killed_runs(config: RunConfig, folder: Path, kills: int, rng: random.Random) -> Killed:
    """Kill and resume runs in `folder` until `kills` are reached and the last run is through. Every batch is a part,
    so that there is much to resume."""
    buffer.PART_SECONDS = 0.0
    folder.mkdir(parents=True, exist_ok=True)
    unbroken = folder / "unbroken"
    assert not kill_after(attempt(config, unbroken), unbroken, sys.maxsize, 0)
    wanted, found = tree(unbroken), Killed()
    found.files = sorted(wanted)
    while found.kills.total() < kills:
        root, running = folder / f"killed-{found.runs}", True
        while running:
            target = len(steps(root)) + rng.randint(0, 4) if found.kills.total() < kills else sys.maxsize
            running = kill_after(attempt(config, root), root, target, rng.uniform(0, 0.2))
            if running:
                found.kills[moment(root)] += 1
        left = tree(root)
        found.differ |= {name for name in {*wanted, *left} if wanted.get(name) != left.get(name)}
        found.runs += 1
    return found


def load_libraries() -> None:
    """Import what a run imports, so that forked children need not."""
    import ddb.backends.classifiers.timm_classifier
    import ddb.learn.leak
    import ddb.pipeline
    import ddb.report.page
    import ddb.stages.erm.worker
    import ddb.stages.evaluate.worker
    import ddb.stages.retrain.worker
    import ddb.stages.score.worker  # noqa: F401


if __name__ == "__main__":
    load_libraries()
    place, times, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    outcome = killed_runs(configuration(draw(place / "birds")), place, times, random.Random(seed))
    print(json.dumps({**vars(outcome), "differ": sorted(outcome.differ)}))
