"""What the codes of JTT and LISA have from group_DRO alike: patches, data folder, the data's options, the epoch that
is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.parity.ground import Ground
from benchmarks.parity.handed import MODEL
from benchmarks.parity.patches import Patch, small_images

DATA = ["-t", "waterbird_complete95", "-c", "forest2water2"]
"""Options: target and confounder."""
NEW_HEAD = "        d = model.fc.in_features\n        model.fc = nn.Linear(d, n_classes)\n"


def shared_patches(builder: str, next_model: str, scale: str) -> list[Patch]:
    """`builder`: the file that builds the model; `next_model`: the line after the ResNet-50's; `scale`: as in
    `small_images`."""
    return [
        Patch("train.py", 'torch.device("cuda")', 'torch.device("cpu")', "the device is written into the code"),
        Patch(builder, "torchvision.models.resnet50(pretrained=pretrained)", MODEL, "pocket backbone"),
        Patch(builder, f"{NEW_HEAD}{next_model}", next_model, ""),
        Patch(
            "data/folds.py", "from torch._utils import _accumulate\n", "", "an unused import that torch no longer has"
        ),
        *small_images("data/cub_dataset.py", scale, "models.py"),
    ]


def root_dir(ground: Ground, folder: Path) -> Path:
    """A link to the data set where these codes look for it, below the folder that is returned."""
    root = folder / "cub"
    named = root / "data" / "waterbird_complete95_forest2water2"
    if not named.exists():
        named.parent.mkdir(parents=True)
        named.symlink_to(ground.data)
    return root


def at_best(val: np.ndarray, test: np.ndarray) -> float:
    """The test figure of the first epoch with the highest one on validation."""
    return float(test[int(val.argmax())])
