"""Are the models that a run will open usable? Opens them on the device "meta": configuration, tokenizers, processors,
the names and shapes of all tensors, and what of the settings depends on them. No weights are read into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from ddb.backends.classifiers.timm_classifier import weights_path
from ddb.backends.registry import diffusion_weights
from ddb.backends.segmenters.given_masks import open_given_masks
from ddb.backends.segmenters.weights import KINDS, part_weights
from ddb.backends.weights import parse_weights
from ddb.config import (
    ClipsegConfig,
    FaceParsingConfig,
    GivenMasksConfig,
    GroundedSamConfig,
    LatentDiffusionConfig,
    Owlv2SamConfig,
    RunConfig,
    Sam3Config,
    SegmentConfig,
)
from ddb.context import Models
from ddb.errors import DDBError
from ddb.learn.device import Runtime
from ddb.pocket.models import backbone_folder

META = Runtime(torch.device("meta"), torch.float32)


def model_faults(config: RunConfig) -> list[str]:
    """What is wrong with the models and given masks that lie on this machine, a line each, with the setting's name.
    Published weights are not looked at: they are downloaded when the run opens them."""
    faults = []
    for setting, look in _looks(config):
        try:
            look()
        except DDBError as error:
            faults.append(str(error) if setting in str(error) else f"{setting}: {error}")
    return faults


def _looks(config: RunConfig) -> Iterator[tuple[str, Callable[[], object]]]:
    """Settings that name something on this machine, and calls that raise DDBError where it cannot be used."""
    if config.erm.weights not in ("hub", "none") and parse_weights(config.erm.weights, backbone_folder).is_local:
        yield "erm.weights", lambda: weights_path(config.erm.weights)
    segment, inpaint = config.segment, config.inpaint
    if isinstance(segment, GivenMasksConfig):
        yield "segment.masks", partial(open_given_masks, segment.masks)
    for name in KINDS[segment.backend]:
        if part_weights(segment, name).is_local:
            yield f"segment.{name}", partial(_open_part, segment, name)
    if isinstance(inpaint, LatentDiffusionConfig) and diffusion_weights(inpaint).is_local:
        yield "inpaint.weights", partial(_open_diffusion, inpaint, config.invert.tokens)


def _open_part(settings: SegmentConfig, name: str) -> None:
    """Open one model of a segmenter."""
    from ddb.backends.segmenters.clipseg import open_clipseg
    from ddb.backends.segmenters.face_parsing import open_face_parsing
    from ddb.backends.segmenters.grounding_dino import open_grounding_dino
    from ddb.backends.segmenters.owlv2 import open_owlv2
    from ddb.backends.segmenters.sam import open_box_masks
    from ddb.backends.segmenters.sam3 import open_sam3

    models = Models()
    if isinstance(settings, ClipsegConfig):
        open_clipseg(settings, META, models)
    elif isinstance(settings, Sam3Config):
        open_sam3(settings, META, models)
    elif isinstance(settings, FaceParsingConfig):
        open_face_parsing(settings, META, models)
    elif isinstance(settings, GroundedSamConfig | Owlv2SamConfig) and name == "mask_model":
        open_box_masks(settings, META, models)
    elif isinstance(settings, GroundedSamConfig):
        open_grounding_dino(settings, META.device, models)
    elif isinstance(settings, Owlv2SamConfig):
        open_owlv2(settings, META.device, models)


def _open_diffusion(settings: LatentDiffusionConfig, tokens: Mapping[str, str]) -> None:
    """Open the generator with the given tokens."""
    from ddb.backends.generators.diffusion.generator import LatentDiffusion
    from ddb.backends.generators.diffusion.loading import open_diffusion

    model = open_diffusion(diffusion_weights(settings), META)
    given = {f"<{name}>": Path(file).expanduser() for name, file in tokens.items()}
    LatentDiffusion(model, settings, model.prompts.read(given))
