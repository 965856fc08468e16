"""Settings to backends: the one place that knows which name opens which model.

Models are opened through the `Models` of a run, so that its stages share them: invert and inpaint one diffusion model,
segment, invert and inpaint one segmenter. Model libraries are imported when a model is opened, so that planning and
configuration need none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ddb.backends import Generator, Inverter, Segmenter
from ddb.backends.classifiers.timm_classifier import backbone_identity
from ddb.backends.generators.copy_paste import CopyPaste
from ddb.backends.segmenters.given_masks import masks_identity, open_given_masks
from ddb.backends.segmenters.weights import KINDS, part_name, part_weights, weights_identity
from ddb.backends.weights import Weights, parse_weights
from ddb.config import InpaintConfig, InvertConfig, RunConfig, SegmentConfig
from ddb.context import Context, Models
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.pocket.models import diffusion_folder

READ_BY_SOME = {
    "grounded_sam": ("box_threshold", "text_threshold"),
    "owlv2_sam": ("box_threshold",),
    "sam3": ("box_threshold", "concept"),
    "face_parsing": ("labels",),
}
"""Settings of single segmenters; all others are read by each, or were recorded from the beginning."""


def open_segmenter(settings: SegmentConfig, context: Context, models: Models) -> Segmenter:
    """What finds the causal part. ModelError, DataError or ConfigError if it cannot be opened."""
    if settings.backend == "given":
        return open_given_masks(settings.masks)
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision)
    if settings.backend == "clipseg":
        from ddb.backends.segmenters.clipseg import open_clipseg

        return open_clipseg(settings, runtime, models)
    if settings.backend == "sam3":
        from ddb.backends.segmenters.sam3 import open_sam3

        return open_sam3(settings, runtime, models)
    if settings.backend == "face_parsing":
        from ddb.backends.segmenters.face_parsing import open_face_parsing

        return open_face_parsing(settings, runtime, models)
    from ddb.backends.segmenters.detect_and_segment import open_detect_and_segment

    return open_detect_and_segment(settings, runtime, models)


def open_generator(settings: InpaintConfig, context: Context, models: Models, tokens: Mapping[str, Path]) -> Generator:
    """What paints counterfactuals; `tokens` (name -> file) are the learned ones that its prompts will hold. Generators
    with other tokens share the model. ModelError or ConfigError if it cannot be opened, or a token does not fit it."""
    if settings.backend == "copy_paste":
        return CopyPaste(settings.feather)
    from ddb.backends.generators.diffusion.generator import LatentDiffusion
    from ddb.backends.generators.diffusion.loading import open_diffusion
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision)
    (name,) = model_names(settings)
    model = models.open(name, lambda: open_diffusion(diffusion_weights(settings), runtime))
    return LatentDiffusion(model, settings, model.prompts.read(tokens))


def open_inverter(settings: InvertConfig, painting: InpaintConfig, context: Context, models: Models) -> Inverter | None:
    """What learns tokens for the generator, or takes given ones; None where there are none. Errors as
    `open_generator`."""
    if painting.backend == "copy_paste" or (settings.representatives == 0 and not settings.tokens):
        return None
    from ddb.backends.generators.diffusion.inversion import TextualInversion
    from ddb.backends.generators.diffusion.loading import open_diffusion
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision)
    (name,) = model_names(painting)
    model = models.open(name, lambda: open_diffusion(diffusion_weights(painting), runtime))
    return TextualInversion(model, settings, painting)


def model_names(settings: SegmentConfig | InpaintConfig) -> tuple[str, ...]:
    """The names under which `open_segmenter`, `open_generator` and `open_inverter` open the models of these settings, for
    `Models.keep`. Empty for backends without a model."""
    if isinstance(settings, SegmentConfig):
        return tuple(part_name(settings, name) for name in KINDS[settings.backend])
    return () if settings.backend == "copy_paste" else (f"latent diffusion {settings.weights}",)


def diffusion_weights(settings: InpaintConfig) -> Weights:
    """The setting `inpaint.weights`, parsed."""
    return parse_weights(settings.weights, diffusion_folder)


def reference_identities(config: RunConfig, names: Collection[str], dataset: Dataset) -> dict[str, str]:
    """What the settings `names` ("erm.weights", "segment.masks", ...) refer to, for fingerprints: the identity of weights
    (`Weights.identity`), a hash over the content of mask or token files. Where files lie does not count. Nothing is
    loaded or downloaded.

    ModelError or ConfigError if something local is missing.
    """
    return {name: _identity_of(name, config, dataset) for name in sorted(names)}


def _identity_of(name: str, config: RunConfig, dataset: Dataset) -> str:
    section, _, field = name.partition(".")
    if name == "erm.weights":
        return backbone_identity(config.erm)
    if name == "segment.masks":
        return masks_identity(config.segment.masks, dataset.split("train")["image"].to_pylist())
    if section == "segment":
        return part_weights(config.segment, field).identity
    if name == "inpaint.weights":
        return diffusion_weights(config.inpaint).identity
    if name == "invert.tokens":
        tokens = {label: _token_hash(label, file, dataset.classes) for label, file in config.invert.tokens.items()}
        return f"sha256:{hashlib.sha256(json.dumps(sorted(tokens.items())).encode()).hexdigest()[:12]}"
    raise KeyError(f"{name} is no setting that refers to files or weights")


def segmenter_identity(settings: SegmentConfig, images: Sequence[str]) -> str:
    """Names the segmenter in fingerprints, without loading it: its weights, or the content of the masks that are given
    for `images` (paths below the data root)."""
    if settings.backend == "given":
        return masks_identity(settings.masks, images)
    return weights_identity(settings)


def segmentation_facts(settings: SegmentConfig) -> dict[str, object]:
    """What decides masks and regions besides `segmenter_identity`, for fingerprints: settings that the backend does not
    read are left out."""
    unread = {name for names in READ_BY_SOME.values() for name in names} - set(READ_BY_SOME.get(settings.backend, ()))
    elsewhere = {"batch_size", "weights", "detector", "mask_model"} | (
        {"masks"} if settings.backend == "given" else set()
    )
    return settings.model_dump(mode="json", exclude=unread | elsewhere, exclude_none=True)


def inversion_facts(settings: InvertConfig, classes: Sequence[str]) -> dict[str, object]:
    """Settings of inversion for fingerprints: given tokens by the content of their files, precision where it is not the
    first one. ConfigError if a class is unknown or a file is missing."""
    facts = settings.model_dump(mode="json", exclude={"tokens", "rows"})
    if settings.rows != "fp32":
        facts["rows"] = settings.rows
    if settings.tokens:
        facts["tokens"] = {name: _token_hash(name, file, classes) for name, file in settings.tokens.items()}
    return facts


def _token_hash(name: str, file: str, classes: Sequence[str]) -> str:
    path = Path(file).expanduser()
    if name not in classes:
        raise ConfigError(f"invert.tokens: no class is called {name!r} (classes: {', '.join(classes)}).")
    if not path.is_file():
        raise ConfigError(f"invert.tokens: {file}, the token of class {name}, is no file.")
    parts = [part for part in (path, path.with_stem(f"{path.stem}_2")) if part.is_file()]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def generator_identity(settings: InpaintConfig) -> str:
    """Names the generator and its weights in fingerprints, without loading it."""
    return "copy_paste" if settings.backend == "copy_paste" else diffusion_weights(settings).identity
