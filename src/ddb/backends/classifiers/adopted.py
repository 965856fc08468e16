"""A trained classifier with its head, adopted as it is: nothing of it is trained or replaced."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ddb.backends.classifiers.loaded import Card, LoadedClassifier
from ddb.backends.classifiers.named_weights import adopted_weights
from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.backends.classifiers.trained.class_names import matched
from ddb.backends.classifiers.trained.files import SETTING, TrainedFiles, find_trained, named_classifier
from ddb.backends.classifiers.trained.opened import Opened, keep_outputs
from ddb.backends.classifiers.trained.output_names import outputs_by_name
from ddb.backends.classifiers.trained.timm_file import open_timm
from ddb.config import ErmConfig
from ddb.errors import ModelError
from ddb.learn.classifier import Classifier

log = logging.getLogger("ddb")


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
    try:
        files = find_trained(weights)
        opened = _open(files, backbone, image_size)
        wanted, names = matched(opened.names, opened.outputs, classes, class_map or {})
        before = opened.outputs
        keep_outputs(opened.head, wanted)
    except ModelError as error:
        raise ModelError(_about(weights, str(error))) from error
    card = Card(opened.architecture, opened.model_args, names, opened.preprocessing, opened.library)
    _say(weights, files, opened, card, before)
    return LoadedClassifier(Classifier(opened.model, opened.head, card.preprocessing), card)


def adopt_for(settings: ErmConfig, classes: Sequence[str] | None) -> LoadedClassifier:
    """The trained classifier of stage erm, which these settings name (`adopted_weights`); see `adopt`. ModelError also
    where there is none."""
    with _by_setting(settings):
        return adopt(
            _named(settings),
            classes,
            backbone=settings.backbone,
            image_size=settings.image_size,
            class_map=settings.class_map,
        )


def check_trained(settings: ErmConfig) -> None:
    """Open the classifier of these settings, weights and all; whether its outputs fit the data is asked by
    `require_outputs`. ModelError as `adopt`."""
    with _by_setting(settings):
        weights = _named(settings)
        try:
            _open(find_trained(weights), settings.backbone, settings.image_size)
        except ModelError as error:
            raise ModelError(_about(weights, str(error))) from error


def require_outputs(settings: ErmConfig, classes: Sequence[str]) -> None:
    """ModelError where the classifier that stage erm adopts lacks an output for one of `classes`. Its weights are not
    read; one that cannot be opened (a fault of `check_trained`), or is not on this machine, has no fault here."""
    try:
        weights = adopted_weights(settings)
        if weights is None or ((named := named_classifier(weights)).published is not None and named.here() is None):
            return
        names, count = outputs_by_name(find_trained(weights), settings.backbone, settings.image_size)
    except ModelError:
        return
    with _by_setting(settings):
        try:
            matched(names, count, classes, settings.class_map)
        except ModelError as error:
            raise ModelError(_about(weights, str(error))) from error


def dropped_head(settings: ErmConfig, classes: Sequence[str]) -> str:
    """A sentence where `erm.weights` carry a last layer that fits these classes by name or number and that training
    replaces by a new one; "" where they do not. For weights that are on this machine."""
    if adopted_weights(settings) is not None or settings.weights in ("hub", "none", "pocket"):
        return ""
    try:
        names, count = outputs_by_name(find_trained(settings.weights), settings.backbone, settings.image_size)
    except ModelError:  # no last layer, or none that can be kept
        return ""
    if names is not None and set(classes) <= set(names):
        what = f"for {', '.join(classes)}"
    elif count == len(classes):
        what = f"with {count} outputs, as many as the data has classes"
    else:
        return ""
    return (
        f"erm.weights: {settings.weights} carries a last layer {what}. It is not used: a new one is trained "
        f"(erm.epochs {settings.epochs}). To keep it and train nothing, set erm.classifier={settings.weights}."
    )


def _named(settings: ErmConfig) -> str:
    weights = adopted_weights(settings)
    if weights is None:
        raise ModelError("erm.classifier names no classifier.")
    return weights


@contextmanager
def _by_setting(settings: ErmConfig) -> Iterator[None]:
    """Errors tell what no epochs mean where they made erm.weights the classifier."""
    try:
        yield
    except ModelError as error:
        if settings.classifier is not None or str(error).startswith("erm.epochs"):
            raise
        told = str(error).removeprefix(f"{SETTING}: ").removesuffix(".")
        words = f"erm.epochs: 0 keeps the head of erm.weights: {told}. With epochs above 0 a head is trained."
        raise ModelError(words) from error


def _open(files: TrainedFiles, backbone: str | None, image_size: int | None) -> Opened:
    opened = _by_kind(files, backbone, image_size)
    if opened.outputs < 2:
        raise ModelError("it has one output; ddb needs one for each class (a softmax), so train it with two.")
    return opened


def _by_kind(files: TrainedFiles, backbone: str | None, image_size: int | None) -> Opened:
    if files.kind == "transformers":
        from ddb.backends.classifiers.transformers_classifier import open_transformers

        return open_transformers(files)
    if files.kind == "timm":
        return open_timm(files, backbone, image_size)
    loaded = load_classifier(files.folder)
    card, own = loaded.card, loaded.classifier
    return Opened(
        own.model, own.head, card.classes, card.preprocessing, card.architecture, card.model_args, card.library
    )


def _about(weights: str, message: str) -> str:
    """The message with the setting and what it names, unless it says them."""
    if message.startswith("erm."):
        return message
    return f"{SETTING}: {message}" if weights in message else f"{SETTING}: {weights}: {message}"


def _say(weights: str, files: TrainedFiles, opened: Opened, card: Card, outputs: int) -> None:
    how = card.preprocessing
    picked = f" (of {outputs})" if outputs > len(card.classes) else ""
    log.info(
        "%s: %s, %s %s, outputs %s%s; input %d pixels, crop %g (%s), %s.",
        weights,
        f"a classifier of {files.kind}",
        card.library,
        card.architecture,
        ", ".join(card.classes[:6]) + (", ..." if len(card.classes) > 6 else ""),
        picked,
        how.size,
        how.crop,
        how.crop_mode,
        how.interpolation,
    )
    for note in opened.notes:
        log.info("%s: %s.", weights, note)
