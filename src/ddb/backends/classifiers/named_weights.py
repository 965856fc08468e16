"""What `erm.weights` and `erm.classifier` name: files and identity. Nothing is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddb.backends.classifiers.trained.files import WEIGHTS, trained_identity
from ddb.backends.weights import foreign_format, parse_weights
from ddb.config import ErmConfig
from ddb.errors import ModelError
from ddb.pocket.models import backbone_folder


def weights_path(weights: str) -> Path:
    """The safetensors file that `erm.weights` names ("hub" and "none" name none). ModelError if it is missing, or is a
    checkpoint of another kind."""
    named = parse_weights(weights, backbone_folder)
    local = named.kind in ("folder", "file")
    path = Path(weights).expanduser() if local else named.folder((WEIGHTS, "config.json"))
    if path.is_dir() and not (path / WEIGHTS).is_file():
        _refuse_foreign(sorted(path.iterdir()))
    path = path / WEIGHTS if path.is_dir() else path
    _refuse_foreign([path])
    if not path.is_file():
        raise ModelError(f"erm.weights: {weights} is neither a safetensors file nor a folder with {WEIGHTS}.")
    return path


def adopted_weights(settings: ErmConfig) -> str | None:
    """What names the trained classifier that stage erm adopts instead of training one: `erm.classifier`, or
    `erm.weights` with no epochs. None: a classifier is trained. ModelError for no epochs and random weights."""
    if settings.classifier is not None or settings.epochs > 0:
        return settings.classifier
    if settings.weights == "none":
        raise ModelError('erm.epochs: 0 keeps the head of erm.weights, and "none" has no weights at all.')
    return f"timm/{settings.backbone}" if settings.weights == "hub" else settings.weights


def classifier_identity(settings: ErmConfig) -> str:
    """Identity of the classifier that stage erm adopts, for fingerprints; "none" where it trains one. Nothing is
    downloaded. ModelError if local files are missing."""
    weights = adopted_weights(settings)
    return "none" if weights is None else trained_identity(weights)


def _refuse_foreign(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_file() and (foreign := foreign_format(path)):
            raise ModelError(f"erm.weights: {path} is {foreign}")


def backbone_identity(settings: ErmConfig) -> str:
    """Identity of the initial weights of `create_classifier`, for fingerprints; local weights are identified by their
    content. Nothing is downloaded. ModelError if local weights are missing."""
    weights = settings.weights
    if weights in ("hub", "none"):
        return f"{settings.backbone}@{weights}"
    named = parse_weights(weights, backbone_folder)
    if named.is_local:
        weights_path(weights)  # ModelError if they are missing
    return named.identity
