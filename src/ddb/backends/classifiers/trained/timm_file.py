"""Opens a timm state dict with its last layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddb.backends.classifiers.backbone import (
    build,
    evaluation_pictures,
    head_names,
    imagenet_names,
    last_layer,
    pretraining,
    sized,
)
from ddb.backends.classifiers.trained.files import TrainedFiles
from ddb.backends.classifiers.trained.opened import Opened
from ddb.backends.classifiers.trained.prefixes import without_prefixes
from ddb.backends.classifiers.weight_files import Shape, read_shapes, read_weights, require_fit, shapes_of
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError


class Described(NamedTuple):
    """What is known of a timm model before its weights are read."""

    architecture: str
    model_args: dict[str, Any]
    preprocessing: Preprocessing
    notes: tuple[str, ...]


def open_timm(files: TrainedFiles, backbone: str | None, image_size: int | None) -> Opened:
    """The model of a state dict, with all its outputs, in eval mode. `backbone`, `image_size`: see `adopt`. ModelError
    where the file has no last layer, or other tensors than the architecture."""
    known = _described(files, backbone, image_size)
    plain = _plain(known)
    own, apart = plain.state_dict(), head_names(plain, last_layer(plain, known.architecture))
    names, taken = without_prefixes(list(shapes := read_shapes(files.weights)), own.keys())
    count = _outputs({new: shapes[old] for new, old in names.items()}, apart, files.weights)
    model = build(known.architecture, known.model_args, count)
    state = read_weights(files.weights)
    state = {new: state[old] for new, old in names.items()}
    require_fit(files.weights, shapes_of(state), shapes_of(model.state_dict()), set(), known.architecture)
    model.load_state_dict({name: state[name] for name in own})
    return Opened(
        model=model.eval(),
        head=last_layer(model, known.architecture),
        names=label_names(files.description, count),
        preprocessing=known.preprocessing,
        architecture=known.architecture,
        model_args=known.model_args,
        library="timm",
        notes=(*known.notes, *_notes(taken, state, own)),
    )


def head_outputs(files: TrainedFiles, backbone: str | None, image_size: int | None) -> int:
    """Number of outputs of a state dict's last layer, from the file's header. ModelError as `open_timm`."""
    known = _described(files, backbone, image_size)
    plain, shapes = _plain(known), read_shapes(files.weights)
    apart = head_names(plain, last_layer(plain, known.architecture))
    names, _ = without_prefixes(list(shapes), plain.state_dict().keys())
    return _outputs({new: shapes[old] for new, old in names.items()}, apart, files.weights)


def _described(files: TrainedFiles, backbone: str | None, image_size: int | None) -> Described:
    config, notes = files.description, tuple[str, ...]()
    architecture = config.get("architecture") or backbone
    if architecture is None:
        raise ModelError(
            f"{files.weights} is a bare state dict: set erm.backbone to its architecture in timm, or put a config.json "
            "beside it."
        )
    facts: Mapping[str, Any] = config.get("pretrained_cfg") or config
    if not config:
        facts = pretraining(architecture)
        facts = {**facts, "input_size": (3, image_size, image_size)} if image_size else facts
        notes = (f"no config.json beside it: {architecture}, preprocessing as timm evaluates that",)
    preprocessing = evaluation_pictures(facts)
    arguments = sized(architecture, config.get("model_args") or {}, preprocessing.size)
    return Described(architecture, arguments, preprocessing, notes)


def _plain(known: Described) -> nn.Module:
    """The architecture without weights, for the names and shapes of its tensors."""
    with torch.device("meta"), torch.random.fork_rng([]):
        return build(known.architecture, known.model_args, 2)


def _outputs(shapes: Mapping[str, Shape], head: set[str], path: Path) -> int:
    """Number of outputs of the last layer in the file. ModelError where it has none."""
    found = [shapes[name] for name in sorted(head) if name in shapes]
    if not found or not len(found[0]):
        raise ModelError(
            f"{path} has no last layer ({', '.join(sorted(head))}): it is a backbone without a classifier. Give it as "
            "erm.weights, and ddb trains a last layer (erm.epochs above 0)."
        )
    return int(found[0][0])


def label_names(config: Mapping[str, Any], count: int) -> list[str] | None:
    """The names of the outputs by config.json: its own, else those of the ImageNet list of that length; None: none."""
    facts = config.get("pretrained_cfg") or {}
    found = config.get("label_names") or facts.get("label_names") or config.get("labels")
    if not found:
        return imagenet_names(count) if config else None
    if not isinstance(found, list) or len(found) != count:
        many = len(found) if isinstance(found, list) else "no list of"
        raise ModelError(f"`label_names` of its config.json has {many} names, and the model has {count} outputs.")
    return [str(name) for name in found]


def _notes(taken: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    notes = [f"the prefix {taken} was taken off the names of its tensors"] if taken else []
    if extra := sorted(state.keys() - own.keys()):
        notes.append(f"{len(extra)} of its tensors have no place in the model and are not used (first: {extra[0]})")
    return notes
