"""Opens the backends that the settings name.

Models are opened through the `Models` of a run, so that its stages share them: invert and inpaint one diffusion model,
segment, invert and inpaint one segmenter. torch and the model libraries are imported when a model is opened, so that
planning and configuration need none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddb.backends import Generator, Inverter, Segmenter
from ddb.backends.classifiers.named_weights import adopts_weights, backbone_identity, classifier_identity
from ddb.backends.content import file_hash
from ddb.backends.segmenters.given_masks import masks_identity, open_given_masks
from ddb.backends.segmenters.weights import KINDS, part_name, part_weights
from ddb.backends.weights import Weights, parse_weights
from ddb.config import (
    ClipsegConfig,
    CopyPasteConfig,
    DiscoverConfig,
    FaceParsingConfig,
    GivenMasksConfig,
    InpaintConfig,
    InvertConfig,
    LatentDiffusionConfig,
    RunConfig,
    Sam3Config,
    SegmentConfig,
)
from ddb.context import Context, Models
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.pocket.models import diffusion_folder, encoder_folder

if TYPE_CHECKING:
    from ddb.backends.encoders.text_image import TextImageEncoder
    from ddb.backends.generators.diffusion.network.model import Diffusion


def open_segmenter(settings: SegmentConfig, context: Context, models: Models) -> Segmenter:
    """Open the segmenter. ModelError, DataError or ConfigError if it cannot be opened."""
    if isinstance(settings, GivenMasksConfig):
        return open_given_masks(settings.masks)
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision)
    if isinstance(settings, ClipsegConfig):
        from ddb.backends.segmenters.clipseg import open_clipseg

        return open_clipseg(settings, runtime, models)
    if isinstance(settings, Sam3Config):
        from ddb.backends.segmenters.sam3 import open_sam3

        return open_sam3(settings, runtime, models)
    if isinstance(settings, FaceParsingConfig):
        from ddb.backends.segmenters.face_parsing import open_face_parsing

        return open_face_parsing(settings, runtime, models)
    from ddb.backends.segmenters.detect_and_segment import open_detect_and_segment

    return open_detect_and_segment(settings, runtime, models)


def open_generator(
    settings: InpaintConfig, context: Context, models: Models, tokens: Mapping[str, Path], compiled: bool = False
) -> Generator:
    """Open the generator; `tokens` (name -> file): learned tokens of its prompts; `compiled`: its UNet is compiled at
    the first batch. Generators with different tokens share the model. ModelError or ConfigError if it cannot be opened,
    or a token does not fit it."""
    if isinstance(settings, CopyPasteConfig):
        from ddb.backends.generators.copy_paste import CopyPaste

        return CopyPaste(settings.feather)
    from ddb.backends.generators.diffusion.generator import LatentDiffusion

    model = _open_diffusion(settings, context, models)
    return LatentDiffusion(model.compiled() if compiled else model, settings, model.prompts.read(tokens))


def painting_values(settings: InpaintConfig, context: Context, models: Models, planned: int) -> tuple[int, bool]:
    """The batch size with which painting begins, and whether the UNet is compiled, for so many planned images. Errors
    as `open_generator`."""
    if isinstance(settings, CopyPasteConfig):
        return settings.batch_size, False
    from ddb.backends.generators.diffusion import shape
    from ddb.backends.generators.diffusion.generator import LatentDiffusion
    from ddb.learn.device import open_accelerator

    device = open_accelerator(context.device, context.precision).device
    size, compiled = settings.batch_size, shape.compiles(settings, device, planned)
    if size == "auto":
        model = _open_diffusion(settings, context, models)
        size = shape.automatic(LatentDiffusion(model, settings, model.prompts))
    return size, compiled


def _open_diffusion(settings: LatentDiffusionConfig, context: Context, models: Models) -> Diffusion:
    """The generator's model, which painting and inversion share."""
    from ddb.backends.generators.diffusion.network.loading import open_diffusion
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision)
    (name,) = model_names(settings)
    return models.open(name, lambda: open_diffusion(diffusion_weights(settings), runtime))


def open_inverter(settings: InvertConfig, painting: InpaintConfig, context: Context, models: Models) -> Inverter | None:
    """Open the inverter, which learns tokens for the generator or adopts given ones; None with
    copy-paste, or without representatives and given tokens. Errors as `open_generator`."""
    if isinstance(painting, CopyPasteConfig) or (settings.representatives == 0 and not settings.tokens):
        return None
    from ddb.backends.generators.diffusion.learning.inversion import TextualInversion

    return TextualInversion(_open_diffusion(painting, context, models), settings, painting)


def open_encoder(settings: DiscoverConfig, context: Context, models: Models) -> TextImageEncoder:
    """Open the encoder of images and texts. ModelError or ConfigError if it cannot be opened."""
    from ddb.backends.encoders.text_image import open_text_image
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(context.device, context.precision).exact()
    weights = encoder_weights(settings)
    return models.open(f"encoder {settings.encoder}", lambda: open_text_image(weights, runtime))


def encoder_weights(settings: DiscoverConfig) -> Weights:
    """The setting `discover.encoder`, parsed."""
    return parse_weights(settings.encoder, encoder_folder)


def model_names(settings: SegmentConfig | InpaintConfig) -> tuple[str, ...]:
    """The names under which `open_segmenter`, `open_generator` and `open_inverter` open the models of these settings,
    for `Models.keep`. Empty for backends without a model."""
    if isinstance(settings, LatentDiffusionConfig):
        return (f"latent diffusion {settings.weights}",)
    if isinstance(settings, CopyPasteConfig):
        return ()
    return tuple(part_name(settings, name) for name in KINDS[settings.backend])


def diffusion_weights(settings: LatentDiffusionConfig) -> Weights:
    """The setting `inpaint.weights`, parsed."""
    return parse_weights(settings.weights, diffusion_folder)


def reference_identities(config: RunConfig, names: Collection[str], dataset: Dataset) -> dict[str, str]:
    """Identities of the files or weights that the settings `names` ("erm.weights", "segment.masks", ...) refer to, for
    fingerprints: `Weights.identity`, or a hash over the content of mask or token files, whatever their location.
    Nothing is loaded or downloaded.

    ModelError or ConfigError if something local is missing.
    """
    return {name: _identity_of(name, config, dataset) for name in sorted(names)}


def _identity_of(name: str, config: RunConfig, dataset: Dataset) -> str:
    segment, inpaint = config.segment, config.inpaint
    section, _, field = name.partition(".")
    if name == "erm.classifier" or (name == "erm.weights" and adopts_weights(config.erm)):
        return classifier_identity(config.erm)
    if name == "erm.weights":
        return backbone_identity(config.erm)
    if name == "segment.masks" and isinstance(segment, GivenMasksConfig):
        return masks_identity(segment.masks, dataset.split("train")["image"].to_pylist())
    if section == "segment" and field in KINDS[segment.backend]:
        return part_weights(segment, field).identity
    if name == "inpaint.weights" and isinstance(inpaint, LatentDiffusionConfig):
        return diffusion_weights(inpaint).identity
    if name.startswith("invert.tokens"):
        return tokens_identity(config.invert, dataset.classes)
    raise KeyError(f"{name}: these settings name no files or weights by it")


def tokens_identity(settings: InvertConfig, classes: Sequence[str]) -> str:
    """A hash over the given tokens' classes and the content of their files; "none" where none is given. ConfigError if
    a class is unknown or a file is missing."""
    if not settings.tokens:
        return "none"
    found = {name: _token_hash(name, file, classes) for name, file in sorted(settings.tokens.items())}
    return f"sha256:{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12]}"


def _token_hash(name: str, file: str, classes: Sequence[str]) -> str:
    path = Path(file).expanduser()
    if name not in classes:
        raise ConfigError(f"invert.tokens: no class is called {name!r} (classes: {', '.join(classes)}).")
    if not path.is_file():
        raise ConfigError(f"invert.tokens: {file}, the token of class {name}, is no file.")
    parts = [part for part in (path, path.with_stem(f"{path.stem}_2")) if part.is_file()]
    return ":".join(file_hash(part) for part in parts)
