"""Names and number of a trained classifier's outputs, without its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ddb.backends.classifiers.trained.files import TrainedFiles
from ddb.backends.classifiers.trained.timm_file import head_outputs, label_names
from ddb.errors import ModelError


def outputs_by_name(
    files: TrainedFiles, backbone: str | None, image_size: int | None
) -> tuple[Sequence[str] | None, int]:
    """The names of the outputs (None: the files have none) and their number. `backbone`, `image_size`: see `adopt`.
    ModelError where the files describe no classifier."""
    if files.kind == "timm":
        count = head_outputs(files, backbone, image_size)
        return label_names(files.description, count), count
    names = files.description.get("classes") if files.kind == "ddb" else transformers_names(files.description)
    if not isinstance(names, Sequence) or not names:
        raise ModelError(f"{files.folder}: its description names no classes.")
    return names, len(names)


def transformers_names(config: Mapping[str, Any]) -> list[str]:
    """The names of the outputs by a transformers config.json; of one without names those that transformers gives."""
    numbered = config.get("id2label") or {number: f"LABEL_{number}" for number in range(config.get("num_labels", 2))}
    return [str(name) for _, name in sorted((int(number), name) for number, name in numbered.items())]
