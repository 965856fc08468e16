"""The whole method in miniature: few small images, copy-paste with given masks, nothing that needs trained weights.

As a script it kills such runs (SIGKILL) at random moments, resumes them and compares what is left with an unbroken run.
It imports torch once and forks a child for every attempt.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ddb.config import PocketConfig, RunConfig
from ddb.engine import runner
from ddb.engine.workspace import Workspace

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
SIZES = PocketConfig(train=60, val=24, test=24)
TIMES = ("events.jsonl", "report.html", ".lock")
"""Files of a run folder that may hold times."""


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
        kept = tree[section] if isinstance(keys, dict) and "backend" not in keys else {}
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
        from ddb.pipeline import run

        run(config, root)
        code = 0
    finally:
        os._exit(code)


def steps(root: Path) -> list[dict[str, Any]]:
    """Events that are progress."""
    return [event for event in Workspace(root, STAGES).events() if event["event"] not in ("run", "skipped")]


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


def killed_runs(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill and resume runs until `kills` are reached and the last run is through: where they fell, and the files that
    differ from an unbroken run's."""
    runner.PART_SECONDS = 0.0
    config, rng = configuration(draw(folder / "birds")), random.Random(seed)
    unbroken = folder / "unbroken"
    assert not kill_after(attempt(config, unbroken), unbroken, sys.maxsize, 0)
    wanted, stages, differing = tree(unbroken), Counter[str](), set[str]()
    number = 0
    while sum(stages.values()) < kills:
        root, running = folder / f"killed-{number}", True
        while running:
            target = len(steps(root)) + rng.randint(1, 4) if sum(stages.values()) < kills else sys.maxsize
            running = kill_after(attempt(config, root), root, target, rng.uniform(0, 0.2))
            if running:
                stages[steps(root)[-1]["stage"]] += 1
        found = tree(root)
        differing |= {name for name in {*wanted, *found} if wanted.get(name) != found.get(name)}
        number += 1
    return {"kills": stages, "runs": number, "differing": sorted(differing), "files": sorted(wanted)}


if __name__ == "__main__":
    import ddb.backends.classifiers.timm_classifier
    import ddb.learn.leak
    import ddb.pipeline
    import ddb.report.page
    import ddb.stages.evaluate  # noqa: F401

    print(json.dumps(killed_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
