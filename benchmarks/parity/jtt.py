"""JTT: anniesch/jtt, commit 1de6cc5 (2022-07-15).

    git clone https://github.com/anniesch/jtt jtt

Its whole pipeline runs: run_expt.py (ERM for T epochs), process_training.py (the error set from what was predicted in
the last of them), run_expt.py again with the command that generate_downstream.py writes. Test accuracy at the epoch
with the highest worst-group accuracy on validation, as analysis.py reads it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from benchmarks.parity.command import main
from benchmarks.parity.ground import BUDGET, Ground, Row
from benchmarks.parity.group_dro_code import DATA, at_best, root_dir, shared_patches
from benchmarks.parity.handed import hand
from benchmarks.parity.patches import Patch, patched
from benchmarks.parity.scripts import prepare, run_script

FIRST_EPOCHS, COPIES = 1, 5

ROWS = (
    Row(
        "jtt",
        "jtt",
        "JTT",
        "jtt",
        theirs="run_expt.py, process_training.py and run_expt.py, whole",
        settings={"first_epochs": FIRST_EPOCHS, "extra_copies": COPIES},
        departures="of equal epochs theirs keeps the first, ours the higher mean, then the last",
    ),
)


def patches() -> list[Patch]:
    return shared_patches("utils.py", '    elif model == "resnet34"', "256.0 / 224.0")


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source, patches(), copy), ("wandb", "pytorch_transformers"))


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images at the epoch with the best one on validation."""
    hand(lambda: ground.start(seed).classifier.model)
    folder = ground.out / "scratch" / f"jtt-{seed}"
    last, second = FIRST_EPOCHS - 1, folder / "second"
    common = ["-s", "confounder", "-d", "CUB", *DATA, "--root_dir", root_dir(ground, folder), "--seed", seed]
    common += ["--batch_size", BUDGET.batch_size, "--lr", BUDGET.lr]
    common += ["--weight_decay", BUDGET.weight_decay, "--model", "resnet50", "--save_step", 1000]
    first = ["--n_epochs", FIRST_EPOCHS, "--log_dir", "results/CUB/parity/erm/model_outputs"]
    run_script(copy / "run_expt.py", [*common, *first], folder)
    found = ["--dataset", "CUB", "--exp_name", "parity", "--folder_name", "erm", "--final_epoch", last]
    run_script(copy / "process_training.py", found, folder)
    errors = folder / "results/CUB/parity/train_downstream_erm" / f"final_epoch{last}" / "metadata_aug.csv"
    again = ["--n_epochs", BUDGET.epochs, "--log_dir", second, "--metadata_path", errors]
    again += ["--aug_col", "wrong_1_times", "--up_weight", COPIES]
    run_script(copy / "run_expt.py", [*common, *again], folder)
    groups = [f"avg_acc_group:{group}" for group in range(4)]
    val, test = (pd.read_csv(second / f"{split}.csv")[groups].min(axis=1).to_numpy() for split in ("val", "test"))
    return at_best(val, test)


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
