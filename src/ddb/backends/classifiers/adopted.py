"""A trained classifier with its head, adopted as it is: nothing of it is trained or replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddb.backends.classifiers.loaded import LoadedClassifier
from ddb.backends.classifiers.timm_classifier import load_classifier


def adopt(
    weights: str,
    classes: Sequence[str] | None,
    *,
    backbone: str | None = None,
    image_size: int | None = None,
    class_map: Mapping[str, str] | None = None,
) -> LoadedClassifier:
    """Open a trained classifier. Its model is in eval mode on the CPU, float32: normalised [B, 3, S, S] -> logits
    [B, K], K = len(classes).

    `weights`: a folder of ddb (`classifier.json`), a run folder or its `classifier/`; a timm state dict (a safetensors
    file with config.json beside it, a folder with both, or a bare file with `backbone`); a transformers
    image-classification folder with its processor; a role of `ddb models list` or a hub id of one of these. The
    prefixes `module.`, `_orig_mod.` and `model.` of a state dict's names are taken off, which the log says.

    `classes`: the outputs by name, in the order that is wanted; None: the model's own. Of a model with more outputs
    those named are picked. `class_map`: the model's name of a class -> the name in `classes`; an output without a name
    is called by its number, "0", "1", ... `backbone` and `image_size` (pixels) are read only for a state dict without
    config.json, whose preprocessing is otherwise timm's own for that architecture.

    Raises ModelError: missing or foreign files (a `.pth` with the command that converts it), tensors that do not fit
    the architecture, preprocessing that `Preprocessing` cannot represent, classes that are not among the outputs, or
    outputs without names and without a map.
    """
    loaded = load_classifier(weights)
    names = [(class_map or {}).get(name, name) for name in loaded.card.classes]
    if classes is not None and names != list(classes):
        raise NotImplementedError
    return loaded
