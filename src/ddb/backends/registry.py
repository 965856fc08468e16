"""Settings to backends: the one place that knows which name opens which model. Models are loaded once a process.

Model libraries are imported when a model is opened, so that planning and configuration need none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ddb.backends import Generator, Inverter, Segmenter
from ddb.backends.copy_paste import CopyPaste
from ddb.backends.given_masks import open_given_masks
from ddb.backends.weights import identity
from ddb.config import InpaintConfig, InvertConfig, SegmentConfig
from ddb.pocket.models import diffusion_folder, segmenter_folder


def open_segmenter(settings: SegmentConfig, device: str, precision: str) -> Segmenter:
    """What finds the causal part. ModelError or DataError if it cannot be opened."""
    if settings.backend == "given":
        return open_given_masks(settings.masks)
    from ddb.backends.clipseg import open_clipseg
    from ddb.learn.device import open_accelerator

    return open_clipseg(settings, open_accelerator(device, precision))


def open_generator(
    settings: InpaintConfig, device: str, precision: str, tokens: Mapping[str, Path] | None = None
) -> Generator:
    """What paints counterfactuals; `tokens` (name -> file) are the learned ones that its prompts will hold."""
    if settings.backend == "copy_paste":
        return CopyPaste(settings.feather)
    from ddb.backends.latent_diffusion import LatentDiffusion
    from ddb.backends.latent_diffusion_loading import open_diffusion
    from ddb.learn.device import open_accelerator

    model = open_diffusion(settings.weights, open_accelerator(device, precision))
    for token, file in (tokens or {}).items():
        model.prompts.load(token, file)
    return LatentDiffusion(model, settings)


def open_inverter(settings: InvertConfig, painting: InpaintConfig, device: str, precision: str) -> Inverter | None:
    """What learns tokens for the generator; None where none are learned."""
    if painting.backend == "copy_paste" or settings.representatives == 0:
        return None
    from ddb.backends.latent_diffusion_loading import open_diffusion
    from ddb.backends.textual_inversion import TextualInversion
    from ddb.learn.device import open_accelerator

    return TextualInversion(open_diffusion(painting.weights, open_accelerator(device, precision)), settings, painting)


def segmenter_identity(settings: SegmentConfig) -> str:
    """Names the segmenter and its weights in fingerprints, without loading it."""
    return "given_masks" if settings.backend == "given" else f"clipseg:{identity(settings.weights, segmenter_folder)}"


def generator_identity(settings: InpaintConfig) -> str:
    """Names the generator and its weights in fingerprints, without loading it."""
    return "copy_paste" if settings.backend == "copy_paste" else identity(settings.weights, diffusion_folder)
