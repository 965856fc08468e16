"""Settings to backends: the one place that knows which name opens which model. Models are loaded once a process.

Model libraries are imported when a model is opened, so that planning and configuration need none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ddb.backends import Generator, Inverter, Segmenter
from ddb.backends.generators.copy_paste import CopyPaste
from ddb.backends.segmenters.given_masks import masks_identity, open_given_masks
from ddb.backends.segmenters.weights import weights_identity
from ddb.backends.weights import identity
from ddb.config import (
    ClipsegConfig,
    CopyPasteConfig,
    FaceParsingConfig,
    GivenMasksConfig,
    InpaintConfig,
    InvertConfig,
    Sam3Config,
    SegmentConfig,
)
from ddb.errors import ConfigError
from ddb.pocket.models import diffusion_folder


def open_segmenter(settings: SegmentConfig, device: str, precision: str) -> Segmenter:
    """What finds the causal part. ModelError, DataError or ConfigError if it cannot be opened."""
    if isinstance(settings, GivenMasksConfig):
        return open_given_masks(settings.masks)
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(device, precision)
    if isinstance(settings, ClipsegConfig):
        from ddb.backends.segmenters.clipseg import open_clipseg

        return open_clipseg(settings, runtime)
    if isinstance(settings, Sam3Config):
        from ddb.backends.segmenters.sam3 import open_sam3

        return open_sam3(settings, runtime)
    if isinstance(settings, FaceParsingConfig):
        from ddb.backends.segmenters.face_parsing import open_face_parsing

        return open_face_parsing(settings, runtime)
    from ddb.backends.segmenters.detect_and_segment import open_detect_and_segment

    return open_detect_and_segment(settings, runtime)


def open_generator(
    settings: InpaintConfig, device: str, precision: str, tokens: Mapping[str, Path] | None = None
) -> Generator:
    """What paints counterfactuals; `tokens` (name -> file) are the learned ones that its prompts will hold."""
    if isinstance(settings, CopyPasteConfig):
        return CopyPaste(settings.feather)
    from ddb.backends.generators.diffusion.generator import LatentDiffusion
    from ddb.backends.generators.diffusion.loading import open_diffusion
    from ddb.learn.device import open_accelerator

    model = open_diffusion(settings.weights, open_accelerator(device, precision))
    for token, file in (tokens or {}).items():
        model.prompts.load(token, file)
    return LatentDiffusion(model, settings)


def open_inverter(settings: InvertConfig, painting: InpaintConfig, device: str, precision: str) -> Inverter | None:
    """What learns tokens for the generator, or takes given ones; None where there are none."""
    if isinstance(painting, CopyPasteConfig) or (settings.representatives == 0 and not settings.tokens):
        return None
    from ddb.backends.generators.diffusion.inversion import TextualInversion
    from ddb.backends.generators.diffusion.loading import open_diffusion
    from ddb.learn.device import open_accelerator

    return TextualInversion(open_diffusion(painting.weights, open_accelerator(device, precision)), settings, painting)


def segmenter_identity(settings: SegmentConfig, images: Sequence[str]) -> str:
    """Names the segmenter in fingerprints, without loading it: its weights, or the content of the masks that are given
    for `images` (paths below the data root)."""
    if isinstance(settings, GivenMasksConfig):
        return masks_identity(settings.masks, images)
    return weights_identity(settings)


def segmentation_facts(settings: SegmentConfig) -> dict[str, object]:
    """What decides masks and regions besides `segmenter_identity`, for fingerprints."""
    elsewhere = {"batch_size", "weights", "detector", "mask_model", "masks"}
    return settings.model_dump(mode="json", exclude=elsewhere, exclude_none=True)


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
    return "copy_paste" if isinstance(settings, CopyPasteConfig) else identity(settings.weights, diffusion_folder)
