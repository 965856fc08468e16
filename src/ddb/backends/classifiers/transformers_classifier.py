"""Image classifiers of transformers: opened, saved and loaded in their own form. No code of a repository is run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageClassification
from transformers.utils import logging

from ddb.backends.classifiers.loaded import Card, LoadedClassifier
from ddb.backends.classifiers.trained.files import CONFIG, PROCESSOR, WEIGHTS, TrainedFiles
from ddb.backends.classifiers.trained.opened import Opened, outputs_of
from ddb.backends.classifiers.trained.processor import preprocessing_of_processor, processor_settings
from ddb.backends.weights import readable, reason_of
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.classifier import Classifier


class Network(nn.Module):
    """A transformers model as ddb's classifiers are: float [B, 3, S, S] -> logits [B, K]."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def open_transformers(files: TrainedFiles) -> Opened:
    """The model of a folder with all its outputs, in eval mode. ModelError: no processor, or one whose pictures ddb
    cannot make; damaged or missing weights; a model without one last layer."""
    if not (files.folder / PROCESSOR).is_file():
        raise ModelError(
            f"{files.folder} has no {PROCESSOR}, which says how pictures become the model's input. Save the processor "
            "beside the model: processor.save_pretrained(FOLDER)."
        )
    preprocessing = preprocessing_of_processor(files.folder)
    model, head = _read(files.folder, preprocessing)
    return Opened(
        model=model,
        head=head,
        names=_names(model.network.config.id2label, outputs_of(head)),
        preprocessing=preprocessing,
        architecture=type(model.network).__name__,
        model_args={},
        library="transformers",
    )


def save_transformers(loaded: LoadedClassifier, folder: Path) -> None:
    """Write weights, configuration and processor, which `from_pretrained` of transformers loads."""
    network: Any = loaded.classifier.model.network
    name_outputs(network, loaded.card.classes)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    _quiet()
    network.save_pretrained(draft, state_dict=state, max_shard_size="1TB")
    (draft / PROCESSOR).write_text(json.dumps(processor_settings(loaded.card.preprocessing), indent=2) + "\n")
    for name in (WEIGHTS, CONFIG, PROCESSOR):
        os.replace(draft / name, folder / name)
    shutil.rmtree(draft)


def load_transformers(folder: Path, card: Card) -> LoadedClassifier:
    """What `save_transformers` wrote. ModelError where it is missing or damaged."""
    model, head = _read(folder, card.preprocessing)
    if outputs_of(head) != len(card.classes):
        raise ModelError(
            f"{folder}: {outputs_of(head)} outputs for {len(card.classes)} classes; copy the folder again."
        )
    return LoadedClassifier(Classifier(model, head, card.preprocessing), card)


def name_outputs(network: Any, classes: tuple[str, ...]) -> None:
    """Put the names of the outputs, and so their number, into the model's configuration."""
    network.config.id2label = dict(enumerate(classes))
    network.config.label2id = {name: number for number, name in enumerate(classes)}


def _read(folder: Path, preprocessing: Preprocessing) -> tuple[Network, nn.Module]:
    """The model in eval mode, and its last layer."""
    _quiet()
    options: dict[str, Any] = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
        "dtype": torch.float32,
    }
    network, info = readable(folder, lambda: AutoModelForImageClassification.from_pretrained(folder, **options))
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{folder}: its weights lack {len(missing)} tensors of {type(network).__name__} (first: {missing[0]}): it "
            "is a backbone without a classifier, or of another architecture."
        )
    model = Network(network.eval())
    return model, _last_layer(model, folder, preprocessing.size)


@torch.no_grad()
def _last_layer(model: Network, folder: Path, size: int) -> nn.Module:
    """The layer whose output is the logits. ModelError where there is none, or the model does not take images of `size`
    pixels a side."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen.append((module, output))

    layers = [one for one in model.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            logits = model(torch.randn(2, 3, size, size))
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"{folder}: the model does not take the processor's images of {size} x {size} ({reason_of(error)})."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    heads = [layer for layer, output in seen if output.numel() == logits.numel() and _equal(output, logits)]
    if len(heads) != 1:
        kind = type(model.network).__name__
        raise ModelError(
            f"{folder}: {kind} has no single last layer that gives its outputs; ddb retrains and reads one."
        )
    return heads[0]


def _equal(output: Tensor, logits: Tensor) -> bool:
    return torch.equal(output.reshape(logits.shape), logits)


def _names(numbered: Mapping[int, str], count: int) -> list[str]:
    return [str(numbered.get(number, number)) for number in range(count)]


def _quiet() -> None:
    """No progress bars and warnings of transformers: what they say is checked here."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
