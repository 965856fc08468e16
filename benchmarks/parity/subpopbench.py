"""SubpopBench: YyzHarry/SubpopBench, commit 4d3dbbe (2023-07-09).

    git clone https://github.com/YyzHarry/SubpopBench subpopbench

Its whole script subpopbench/train.py runs; it keeps the checkpoint with the highest worst-group accuracy on validation
(--use_es) and never stops early. Its JTT, DFR and LISA are other methods than the papers' (the first model trains for
half of the steps and is asked batch by batch; gradient descent on the head; mixing inside one random batch), so they
are not compared with ours.
"""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

from benchmarks.parity.command import main
from benchmarks.parity.ground import BUDGET, STEPS, Ground, Row
from benchmarks.parity.handed import HEAD, MODEL, Body, hand
from benchmarks.parity.patches import Patch, patched, statistics
from benchmarks.parity.scripts import prepare, run_script
from torch import nn

REWEIGHT = Row(
    "sb_reweight",
    "subpopbench",
    "ReWeight",
    "reweight",
    theirs="train.py, whole",
    settings={"scale": "groups"},
    departures="theirs draws all batches with replacement and also judges the model after its first step",
)
ROWS = (
    REWEIGHT,
    replace(REWEIGHT, name="sb_mixup", title="Mixup", rival="mixup", settings={"alpha": 0.2}),
    replace(REWEIGHT, name="sb_cvar_dro", title="CVaR-DRO", rival="cvar_dro", settings={"alpha": 0.1}),
    replace(REWEIGHT, name="sb_group_dro", title="GroupDRO", rival="group_dro", settings={"balanced_batches": False}),
    replace(REWEIGHT, name="sb_resample", title="ReSample", rival="resample", settings={}),
    replace(REWEIGHT, name="sb_lff", title="LfF", rival="lff", settings={"decay": 0.0, "normalise": False}),
)
ALGORITHMS = {
    "reweight": "ReWeight",
    "resample": "ReSample",
    "mixup": "Mixup",
    "cvar_dro": "CVaRDRO",
    "group_dro": "GroupDRO",
    "lff": "LfF",
}


def patches() -> list[Patch]:
    mean, std = statistics()
    networks, data = "subpopbench/models/networks.py", "subpopbench/dataset/datasets.py"
    featurizer, classifier = "def Featurizer(data_type, input_shape, hparams):\n", "is_nonlinear=False):\n"
    judged = "subpopbench/utils/eval_helper.py"
    return [
        Patch(
            "subpopbench/learning/optimizers.py",
            "from transformers import AdamW",
            "from torch.optim import AdamW",
            "transformers no longer has AdamW",
        ),
        Patch(judged, ", eps=1e-6", "", "scikit-learn's log_loss no longer has eps"),
        Patch(
            judged, "netcal.metrics.ECE().measure(preds, targets)", "0.0", "netcal, for a figure that is not used here"
        ),
        Patch(
            "subpopbench/learning/algorithms.py", 'device="cuda"', 'device="cpu"', "the device is written into the code"
        ),
        Patch(
            networks,
            featurizer,
            f"{featurizer}    return {MODEL}\n",
            "pocket backbone with ours' last layer; its normalisation layers train as ours do (theirs freezes them)",
        ),
        Patch(networks, classifier, f"{classifier}    return {HEAD}\n", ""),
        Patch(data, "int(224 * (256 / 224)), int(224 * (256 / 224)),", "64, 64", "images stay 64 x 64"),
        Patch(data, "CenterCrop(224)", "CenterCrop(64)", ""),
        Patch(data, "[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]", f"{mean}, {std}", "the backbone's normalisation"),
    ]


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source, patches(), copy), ("netcal", "tensorboard_logger", "gdown", "psycopg2"))


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images at the checkpoint with the best one on validation."""
    started = ground.start(seed).classifier
    heads = iter([started.head])  # LfF's second model gets another one, as ours does
    hand(
        model=lambda: Body(ground.start(seed).classifier.model),
        head=lambda: next(heads, None) or nn.Linear(started.head.in_features, 2),
    )
    folder = ground.out / "scratch" / f"{row.name}-{seed}"
    write_metadata(ground.data, folder / "data" / "waterbirds")
    hparams = {"lr": BUDGET.lr, "weight_decay": BUDGET.weight_decay, "batch_size": BUDGET.batch_size}
    arguments = ["--algorithm", ALGORITHMS[row.rival], "--dataset", "Waterbirds", "--data_dir", folder / "data"]
    arguments += ["--output_dir", folder / "output", "--hparams", json.dumps(hparams), "--seed", seed]
    arguments += ["--steps", STEPS * BUDGET.epochs, "--checkpoint_freq", STEPS, "--use_es", "--es_patience", 1000]
    run_script(copy / "subpopbench" / "train.py", arguments, folder)
    with next((folder / "output").glob("*/*/final_results.pkl")).open("rb") as file:
        return float(pickle.load(file)["te"]["min_group"]["accuracy"])


def write_metadata(data: Path, folder: Path) -> None:
    """What SubpopBench's own scripts/download.py makes of Waterbirds: the images and metadata_waterbirds.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    images = folder / "waterbird_complete95_forest2water2"
    if not images.exists():
        images.symlink_to(data)
    with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "metadata_waterbirds.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "filename", "split", "y", "a"])
        writer.writerows([r["img_id"], r["img_filename"], r["split"], r["y"], r["place"]] for r in rows)


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
