"""The files of a trained classifier, wherever they lie and in whose form: found, told apart, and identified. Nothing of
them but their descriptions (JSON) is read, and no model library is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ddb.backends.content import file_hash
from ddb.backends.weights import Weights, foreign_format, parse_weights, read_json, readable
from ddb.errors import ModelError
from ddb.pocket.models import backbone_folder

SETTING = "erm.classifier"
WEIGHTS = "model.safetensors"
CARD = "classifier.json"
CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
DESCRIPTIONS = (CARD, CONFIG, PROCESSOR)
PATTERNS = ("*.json", "*.txt", "model*.safetensors")
"""Files of a hub repository that a classifier needs."""
FORMS = (
    "a classifier is a folder of ddb, a timm state dict (safetensors, with config.json beside it or erm.backbone), a "
    "transformers image-classification folder, or a hub id of one of these"
)


@dataclass(frozen=True)
class TrainedFiles:
    """`kind`: in whose form the files are; `weights`: the safetensors file (of a transformers folder the first);
    `description`: the content of classifier.json (ddb) or config.json; empty: there is none."""

    kind: Literal["ddb", "timm", "transformers"]
    weights: Path
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder that holds them."""
        return self.weights.parent


def named_classifier(weights: str) -> Weights:
    """The setting, parsed."""
    return parse_weights(weights, backbone_folder)


def find_trained(weights: str) -> TrainedFiles:
    """The files of the classifier that `weights` names; published ones are downloaded where they are not here yet.
    ModelError: they are missing, or a checkpoint of another kind."""
    named = named_classifier(weights)
    place = named.folder(PATTERNS) if named.published is not None else named.path
    return _in_folder(place) if place.is_dir() else _of_file(place)


def trained_identity(weights: str) -> str:
    """Identity of the classifier that `weights` names, for fingerprints: of local files a hash over weights and
    descriptions, whatever their path. Nothing is downloaded. ModelError if local files are missing."""
    named = named_classifier(weights)
    if named.published is not None:
        return named.identity
    found = find_trained(weights)
    beside = [found.folder / name for name in DESCRIPTIONS]
    shards = sorted(found.folder.glob("model*.safetensors")) if found.kind == "transformers" else [found.weights]
    digest = hashlib.sha256()
    for path in [*shards, *(path for path in beside if path.is_file())]:
        digest.update(path.name.encode() if path in beside else b"weights")
        digest.update(bytes.fromhex(readable(path, lambda path=path: file_hash(path))))  # type: ignore[misc]
    return f"sha256:{digest.hexdigest()[:12]}"


def _in_folder(folder: Path) -> TrainedFiles:
    """The files of a folder: of ddb (or a run folder's), of timm or of transformers."""
    inside = folder / "classifier"
    if not (folder / CARD).is_file() and (inside / CARD).is_file():
        folder = inside
    description = _description(folder)
    if description and _kind(folder, description) == "transformers":
        return TrainedFiles("transformers", folder / WEIGHTS, description)
    found = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return TrainedFiles(_kind(folder, description), found[0], description)
    if len(found) > 1:
        named = ", ".join(path.name for path in found[:3])
        raise ModelError(f"{SETTING}: {folder} holds several files of weights ({named}); name the file itself.")
    for path in sorted(folder.iterdir()):
        _refuse_foreign(path)
    raise ModelError(f"{SETTING}: {folder} holds no weights; {FORMS}.")


def _of_file(path: Path) -> TrainedFiles:
    """The file with the description beside it."""
    _refuse_foreign(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{SETTING}: {path} is no safetensors file; {FORMS}.")
    description = _description(path.parent)
    kind = _kind(path.parent, description)
    if kind == "transformers" and path.name != WEIGHTS:
        raise ModelError(
            f"{SETTING}: {path}: {CONFIG} beside it describes a transformers model, whose weights are called "
            f"{WEIGHTS}. Name the folder, or put the file elsewhere."
        )
    if kind == "ddb" and path.name != WEIGHTS:
        return TrainedFiles("timm", path)
    return TrainedFiles(kind, path, description)


def _description(folder: Path) -> Mapping[str, Any]:
    """The content of classifier.json, else of config.json; empty where there is neither."""
    there = [folder / name for name in (CARD, CONFIG) if (folder / name).is_file()]
    return read_json(there[0]) if there else {}


def _kind(folder: Path, description: Mapping[str, Any]) -> Literal["ddb", "timm", "transformers"]:
    if (folder / CARD).is_file():
        return "ddb"
    if not description or "architecture" in description:
        return "timm"
    if "model_type" in description or "architectures" in description:
        return "transformers"
    raise ModelError(
        f"{SETTING}: {folder / CONFIG} names neither an architecture of timm (`architecture`) nor a model of "
        "transformers (`model_type`)."
    )


def _refuse_foreign(path: Path) -> None:
    if path.is_file() and (foreign := foreign_format(path)):
        raise ModelError(f"{SETTING}: {path} is {foreign}")
