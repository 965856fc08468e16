"""DFR: PolinaKirichenko/deep_feature_reweighting, commit 9d8d5de (2023-09-20).

    git clone https://github.com/PolinaKirichenko/deep_feature_reweighting dfr

Its whole script dfr_evaluate_spurious.py runs on the ERM model that ours gets; one run gives both methods. It draws
without a seed; one is set here.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

from benchmarks.parity.command import main
from benchmarks.parity.ground import Ground, Row
from benchmarks.parity.handed import MODEL, hand
from benchmarks.parity.patches import Patch, patched, small_images
from benchmarks.parity.scripts import prepare, run_script, seed_everything

SCRIPT = "dfr_evaluate_spurious.py"
VAL = Row("dfr_val", "dfr", "DFR, validation", "dfr_val", theirs="the whole script, from the ERM model of ours")
ROWS = (VAL, replace(VAL, name="dfr_train", title="DFR, training", rival="dfr_train"))


def patches() -> list[Patch]:
    embed = (
        SCRIPT,
        "    x = m.conv1(x)",
        "    return m.forward_head(m.forward_features(x), pre_logits=True)\n    x = m.conv1(x)",
    )
    return [
        *small_images("wb_data.py", "256.0 / 224.0", SCRIPT),
        Patch(SCRIPT, "torchvision.models.resnet50(pretrained=False)", MODEL, "pocket backbone"),
        Patch(SCRIPT, "model.load_state_dict(torch.load(\n    args.ckpt_path\n))", f"model = {MODEL}", ""),
        Patch(*embed, "timm names the ResNet's parts otherwise"),
        Patch(SCRIPT, "from torch.utils.tensorboard import SummaryWriter\n", "", "unused import"),
    ]


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source, patches(), copy), ())


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images."""
    hand(lambda: ground.erm(seed).classifier.model)
    folder = ground.out / "scratch" / f"dfr-{seed}"
    result = folder / "result.pkl"
    seed_everything(seed)  # the script does not
    if not result.exists():
        run_script(copy / SCRIPT, ["--data_dir", ground.data, "--result_path", result], folder)
    with result.open("rb") as file:
        return float(pickle.load(file)[f"{row.rival}_results"]["test_worst_acc"])


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
