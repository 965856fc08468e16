"""Runs the whole pipeline once through the published architectures, with random weights, and says what it took.

    python tools/fullsize_check.py [--memory GB] [GENERATOR...]        (default: all memory that is free, all of RUNS)

Each run is a process of its own on 4 training images: 256 px, 2 denoising and 2 inversion steps, fp32, on the CPU.
Nothing that comes out of it means anything but this: the files are read, the shapes fit, the memory is what it is.
Models are written in the layout that the hub's copies have, in a temporary folder, and their parameters counted first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from fullsize_models import WRITERS, counted
from PIL import Image

from ddb.backends import Detected
from ddb.backends.segmenters.grounding_dino import open_grounding_dino
from ddb.config import GroundedSamConfig
from ddb.context import Models
from ddb.engine import journal

GIGA = 1e9
RUN = """
import sys
from pathlib import Path
from ddb.backends.generators.diffusion.learning import inversion
from ddb.config.load import load_config
from ddb.pipeline import run
inversion.HELD_OUT_PAIRS = 2  # of 48: each costs a pass of the UNet
run(load_config(sys.argv[1]), Path(sys.argv[2]))
"""
SIDE = 256
BOXES = 3
"""Boxes that an image is to have, about."""


@dataclass(frozen=True)
class Plan:
    """`needs`: memory that the run takes, gigabytes; `mask_model`: which SAM goes with it."""

    mask_model: str
    needs: float


RUNS = {
    "sd2-inpainting": Plan("sam-vit-b", 12),
    "sd2-base": Plan("sam2.1-small", 10),
    "sdxl-inpainting": Plan("sam2.1-small", 18.3),
}


def main() -> None:
    """Print a table row for every stage of every run."""
    parser = argparse.ArgumentParser(description="Run the published architectures once, with random weights.")
    parser.add_argument("--memory", type=float, default=_available(), help="gigabytes that a run may take")
    parser.add_argument("generators", nargs="*", help=", ".join(RUNS))
    asked = parser.parse_args()
    print("| generator | segmenter | stage | seconds |\n|---|---|---|---|", flush=True)
    for name in asked.generators or RUNS:
        plan = RUNS[name]
        if asked.memory < plan.needs:
            print(f"| {name} | | skipped: needs {plan.needs} GB, may take {asked.memory:.0f} | |", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="fullsize-") as folder:
            _check(name, plan, Path(folder))


def _check(name: str, plan: Plan, folder: Path) -> None:
    parts = {"erm": "resnet50", "detector": "grounding-dino-tiny", "mask_model": plan.mask_model, "inpaint": name}
    for model in parts.values():
        started = time.monotonic()
        _in_child(model, folder / model)
        for part, number in counted(model, folder / model):
            print(f"  {part}: {number:,} parameters ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    _draw(folder / "images")
    settings = folder / "run.yaml"
    settings.write_text(yaml.safe_dump(_settings(folder, parts, _threshold(folder))))
    command = [sys.executable, "-m", "ddb.cli"]
    peak, seconds = _run([sys.executable, "-c", RUN, str(settings), str(folder / "run")])
    asked = [*command, "status", str(folder / "run"), "--json"]
    state = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    assert state["finished"] and not any(stage["errors"] for stage in state["stages"]), state
    painted = state["stages"][3]["statuses"].get("ok", 0)
    assert painted, "no counterfactual was painted"
    for event in journal.events(folder / "run"):
        if event["event"] == "finished":
            print(f"| {name} | grounding-dino-tiny, {plan.mask_model} | {event['stage']} | {event['seconds']:.0f} |")
    print(f"| {name} | | all: {painted} painted, peak {peak:.1f} GB | {seconds:.0f} of processor time |", flush=True)


def _run(command: list[str]) -> tuple[float, float]:
    """Run it to its end; the most memory that it had, gigabytes, and its processor time, seconds."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{' '.join(command)} failed"
    return usage.ru_maxrss * 1024 / GIGA, usage.ru_utime + usage.ru_stime


def _threshold(folder: Path) -> float:
    """A score that a few of the 900 boxes have: random weights know of no other."""
    weights = str(folder / "grounding-dino-tiny")
    settings = GroundedSamConfig(detector=weights, text_threshold=0.0, box_threshold=0.0)
    detector = open_grounding_dino(settings, torch.device("cpu"), Models())
    images = [np.array(Image.open(folder / "images" / "train" / name / "0.png")) for name in ("one", "two")]
    found = [one for one in detector.detect(images, "bird") if isinstance(one, Detected)]
    scores = [sorted((box.score for box in one.boxes), reverse=True) for one in found]
    return min(own[BOXES] for own in scores)


def _in_child(model: str, folder: Path) -> None:
    """Write a model in a process of its own, so that its memory is given back and does not count."""
    child = os.fork()
    if child == 0:
        try:
            WRITERS[model](folder)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, f"{model} could not be written"


def _draw(root: Path) -> None:
    """Two classes, two images each in train, val and test: noise about two colours."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label, colour in (("one", (200, 60, 60)), ("two", (60, 60, 200))):
            for number in range(2):
                noise = rng.integers(-50, 50, (SIDE, SIDE, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                path = root / split / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def _settings(folder: Path, parts: dict[str, str], threshold: float) -> dict[str, object]:
    """Everything small, and every rule off that random weights would not pass."""
    where = {use: str(folder / model) for use, model in parts.items()}
    fit = {"epochs": 1, "batch_size": 4, "selection": "worst_class"}
    return {
        "name": "fullsize",
        "device": "cpu",
        "precision": "fp32",
        "data": {"source": "folder", "root": str(folder / "images"), "phrase": "bird"},
        "erm": {**fit, "weights": where["erm"], "image_size": 224},
        "invert": {"representatives": 1, "steps": 2, "batch_size": 1, "check_every": 2},
        "segment": {
            "backend": "grounded_sam", "detector": where["detector"], "mask_model": where["mask_model"],
            "box_threshold": threshold, "text_threshold": 0.0, "shape": "square", "min_area": 0.0, "max_area": 1.0,
            "batch_size": 2,
        },
        "inpaint": {"weights": where["inpaint"], "image_size": SIDE, "steps": 2, "batch_size": 2, "scheduler": "ddim"},
        "score": {"maps": 1, "ig_steps": 2},
        "prune": {"psi": "off", "rho": "off"},
        "retrain": {**fit, "generated_batch": 2},
    }  # fmt: skip


def _available() -> float:
    """Memory that is free, gigabytes."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / GIGA


if __name__ == "__main__":
    main()
