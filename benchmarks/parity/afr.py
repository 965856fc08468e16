"""AFR: AndPotap/afr, commit b34b6cd (2023-07-06).

    git clone https://github.com/AndPotap/afr afr

Its two scripts run whole, with the README's settings for Waterbirds: train_supervised.py on 80% of the training images,
then train_embeddings.py on the other 20%.

The script's last line, "Best test at val", is the highest of the test figures at all improvements on validation, so it
has looked at the test images. What is read here is the last of them: that of the best validation figure.
"""

from __future__ import annotations

import pickle
from pathlib import Path

from benchmarks.parity.command import main
from benchmarks.parity.ground import BUDGET, Ground, Row
from benchmarks.parity.handed import MODEL, hand
from benchmarks.parity.patches import Patch, patched, statistics
from benchmarks.parity.scripts import prepare, run_script

GAMMA, STRENGTH, RATE, STEPS = 10.0, 0.0, 0.01, 500

ROWS = (
    Row(
        "afr",
        "afr",
        "AFR",
        "afr",
        theirs="both scripts, whole",
        settings={"gamma": GAMMA, "strength": STRENGTH, "rate": RATE, "steps": STEPS},
        departures="another random 80% (both are fixed); of equal steps theirs keeps the first, ours the last",
    ),
)


def patches() -> list[Patch]:
    transforms = "data/data_transforms.py"
    mean, std = statistics()
    return [
        Patch(transforms, "target_resolution = (224, 224)", "target_resolution = (64, 64)", "images stay 64 x 64"),
        Patch(transforms, "resize_resolution = (256, 256)", "resize_resolution = (64, 64)", ""),
        Patch(
            transforms, "[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]", f"{mean}, {std}", "the backbone's normalisation"
        ),
        Patch(
            "models/__init__.py",
            "_replace_fc(torchvision.models.resnet50(pretrained=True), output_dim)",
            MODEL,
            "pocket backbone",
        ),
    ]


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source, patches(), copy), ("wandb", "wilds", "einops", "yaml"))


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images at the step with the best one on validation."""
    hand(lambda: ground.start(seed).classifier.model)
    folder = ground.out / "scratch" / f"afr-{seed}"
    first, second = folder / "first", folder / "second"
    shared = [f"--data_dir={ground.data}", "--data_transform=NoAugWaterbirdsCelebATransform", f"--seed={seed}"]
    shared += ["--model=imagenet_resnet50_pretrained", "--optimizer=sgd_optimizer", "--scheduler=constant_lr_scheduler"]
    stage = [
        f"--output_dir={first}",
        "--train_prop=80",
        f"--num_epochs={BUDGET.epochs}",
        f"--batch_size={BUDGET.batch_size}",
    ]
    stage += [f"--init_lr={BUDGET.lr}", f"--weight_decay={BUDGET.weight_decay}"]
    run_script(copy / "train_supervised.py", [*shared, *stage], folder)
    (folder / "logs").mkdir(exist_ok=True)
    stage = [f"--output_dir={second}", f"--base_model_dir={first}", "--train_prop=-20", f"--num_epochs={STEPS}"]
    stage += ["--loss=afr", "--tune_on=train", "--reuse_embeddings=False", "--momentum=0", "--weight_decay=0"]
    stage += [f"--init_lr={RATE}", f"--gamma={GAMMA}", f"--reg_coeff={STRENGTH}", "--grad_norm=1.0"]
    run_script(copy / "train_embeddings.py", [*shared, *stage], folder)
    with (second / "metrics.pkl").open("rb") as file:
        steps = pickle.load(file)
    return float([facts["best_test_at_val"] for facts in steps.values() if "best_test_at_val" in facts][-1])


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
