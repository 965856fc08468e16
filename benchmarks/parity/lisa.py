"""LISA: huaxiuyao/LISA, commit c857a6b (2023-04-12), folder subpopulation_shifts.

    git clone https://github.com/huaxiuyao/LISA lisa

Its whole script run_expt.py runs, which prints the test accuracy at the epoch with the highest worst-group accuracy on
validation; it is read from the two CSV files that it prints from. Each batch of a group has as many images as makes
ours' number of mixed images a step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from benchmarks.parity.command import main
from benchmarks.parity.ground import BUDGET, STEPS, Ground, Row
from benchmarks.parity.group_dro_code import DATA, at_best, root_dir, shared_patches
from benchmarks.parity.handed import hand
from benchmarks.parity.patches import Patch, patched
from benchmarks.parity.scripts import prepare, run_script

MIXUP = Row(
    "lisa_mixup",
    "lisa",
    "LISA, mixup",
    "lisa",
    theirs="run_expt.py, whole",
    departures="a group's last, smaller batch cuts its pair in theirs; of equal epochs theirs keeps the first",
)
ROWS = (MIXUP, replace(MIXUP, name="lisa_cutmix", title="LISA, CutMix", settings={"mix": "cutmix"}))


def patches() -> list[Patch]:
    return [
        *shared_patches("run_expt.py", "    elif args.model == 'resnet34'", "256.0/224.0"),
        Patch(
            "train.py",
            "len_dataloader = np.min(length)",
            f"len_dataloader = {STEPS}",
            "an epoch has as many steps as ours, not as many batches as the smallest group has (1 to 3)",
        ),
    ]


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source / "subpopulation_shifts", patches(), copy), ("pytorch_transformers",))


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images at the epoch with the best one on validation."""
    hand(lambda: ground.start(seed).classifier.model)
    folder = ground.out / "scratch" / f"{row.name}-{seed}"
    cutmix = row.settings.get("mix") == "cutmix"
    of_group = BUDGET.batch_size // (4 if cutmix else 2)
    arguments = ["-d", "CUB", *DATA, "--root_dir", root_dir(ground, folder)]
    arguments += ["--lisa_mix_up", *(["--cut_mix"] if cutmix else []), "--mix_alpha", 2, "--alpha", 0.2]
    arguments += ["--mix_ratio", 0.5]
    arguments += ["--n_epochs", BUDGET.epochs, "--batch_size", of_group, "--lr", BUDGET.lr, "--seed", seed]
    arguments += ["--weight_decay", BUDGET.weight_decay, "--save_step", 1000, "--log_dir", folder / "logs"]
    run_script(copy / "run_expt.py", arguments, folder)
    val, test = (pd.read_csv(next((folder / "logs").glob(f"*_{split}.csv"))) for split in ("val", "test"))
    return at_best(val["worst_group_acc"].to_numpy(), test["worst_group_acc"].to_numpy())


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
