"""Checks of the models and masks of a run before it starts. Models are opened on the device "meta": configuration,
tokenizers, processors, names and shapes of all tensors, and the settings that depend on them are checked. No weights
are read into memory but those of a trained classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ddb.backends.classifiers.named_weights import adopted_weights, backbone_identity, classifier_identity
from ddb.backends.classifiers.trained.files import PATTERNS as CLASSIFIER_FILES
from ddb.backends.classifiers.trained.files import named_classifier
from ddb.backends.generators.diffusion.network.files import PATTERNS as DIFFUSION_FILES
from ddb.backends.passed import Passed
from ddb.backends.registry import diffusion_weights
from ddb.backends.segmenters.given_masks import open_given_masks, survey, survey_lines
from ddb.backends.segmenters.weights import KINDS, part_weights
from ddb.backends.segmenters.weights import PATTERNS as SEGMENTER_FILES
from ddb.backends.weights import Weights, parse_weights
from ddb.config import (
    ClipsegConfig,
    ErmConfig,
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
from ddb.data.table import Dataset
from ddb.errors import DDBError, ModelError
from ddb.learn.device import Runtime
from ddb.models.hub import offline
from ddb.models.roles import TIMM
from ddb.pocket.models import backbone_folder

META = Runtime(torch.device("meta"), torch.float32)


@dataclass(frozen=True)
class _Look:
    """`setting` names something on this machine (or is the beginning of several settings), and `check` raises DDBError
    where that cannot be used. `facts`: what the outcome depends on, JSON-able; None: something else, so that it is
    never remembered."""

    setting: str
    check: Callable[[], object]
    facts: Callable[[], object] | None = None


def model_faults(config: RunConfig, passed: Passed | None = None) -> list[str]:
    """Faults of the models and given masks on this machine, one line each, with the setting's name. Published weights
    are not checked: they are downloaded when the run opens them. `passed`: checks that need not be repeated; those that
    pass now are added."""
    faults = []
    for look in _looks(config):
        try:
            if passed is None or look.facts is None:
                look.check()
            else:
                passed.unless_before([look.setting, look.facts()], look.check)
        except DDBError as error:
            named = look.setting in str(error)
            faults.append(str(error) if named else f"{look.setting.removesuffix('.')}: {error}")
    return faults


def fetch_unpinned(config: RunConfig) -> None:
    """Download the published weights whose commit is known neither to ddb nor to the hub's cache, so that their
    identity is the same before and after their first use. Where a download fails, the stage that opens the weights
    reports it."""
    segment, inpaint = config.segment, config.inpaint
    needed: list[tuple[Weights, Sequence[str]]] = [
        (part_weights(segment, name), SEGMENTER_FILES) for name in KINDS[segment.backend]
    ]
    if (classifier := _adopted(config)) is not None:
        needed.append((classifier, CLASSIFIER_FILES))
    if _starts_from_weights(config) and config.erm.weights not in ("hub", "none"):
        needed.append((parse_weights(config.erm.weights, backbone_folder), TIMM))
    if isinstance(inpaint, LatentDiffusionConfig):
        needed.append((diffusion_weights(inpaint), DIFFUSION_FILES))
    for weights, files in needed:
        published = weights.published
        if published is not None and published.pinned is None and weights.here() is None:
            with suppress(ModelError):
                weights.folder(files)


def named_weights(config: RunConfig) -> dict[str, Weights]:
    """Setting -> weights of every model that the run opens, except erm.weights that are "none" (random) or that an
    adopted classifier leaves unused."""
    found = {}
    if (classifier := _adopted(config)) is not None:
        found["erm.classifier"] = classifier
    erm = config.erm.weights
    if erm != "none" and _starts_from_weights(config):
        found["erm.weights"] = parse_weights(f"timm/{config.erm.backbone}" if erm == "hub" else erm, backbone_folder)
    for name in KINDS[config.segment.backend]:
        found[f"segment.{name}"] = part_weights(config.segment, name)
    if isinstance(config.inpaint, LatentDiffusionConfig):
        found["inpaint.weights"] = diffusion_weights(config.inpaint)
    return found


def _adopted(config: RunConfig) -> Weights | None:
    """The classifier that stage erm adopts; None where it trains one, or the settings name none that there can be (a
    fault of `model_faults`)."""
    try:
        weights = adopted_weights(config.erm)
    except ModelError:
        return None
    return None if weights is None else named_classifier(weights)


def _starts_from_weights(config: RunConfig) -> bool:
    """Whether a fit starts from `erm.weights`: that of stage erm, or retraining that does not start from its model."""
    trains = config.erm.classifier is None and config.erm.epochs > 0
    return trains or config.retrain.start == "pretrained"


def notes_on_published(config: RunConfig) -> list[str]:
    """A line for each model that is not in the hub's cache and that the run has to download. The hub is not
    contacted."""
    absent = {name: one for name, one in named_weights(config).items() if not one.is_local and one.here() is None}
    then = "HF_HUB_OFFLINE forbids to ask the hub, so the run cannot open it" if offline() else "the run downloads it"
    return [
        f"note: {name}: {one.text} is not in the hub's cache here; {then}. See `ddb doctor`."
        for name, one in absent.items()
    ]


def mask_survey(settings: SegmentConfig, dataset: Dataset) -> tuple[list[str], list[str]]:
    """Lines on the given masks of the training images, and faults that prevent a run. Both are empty for another
    segmenter, and where `segment.masks` cannot be opened (a fault of `model_faults`)."""
    if not isinstance(settings, GivenMasksConfig):
        return [], []
    try:
        masks = open_given_masks(settings.masks)
    except DDBError:
        return [], []
    found = survey(masks, dataset.root, dataset.split("train")["image"].to_pylist(), dataset.phrase)
    return survey_lines(found, masks)


def _looks(config: RunConfig) -> Iterator[_Look]:
    erm, segment, inpaint = config.erm, config.segment, config.inpaint
    if erm.classifier is not None or erm.epochs == 0:
        classifier = _adopted(config)
        if classifier is None or classifier.is_local:
            yield _Look(
                "erm.", partial(_open_classifier, erm), lambda: [erm.model_dump_json(), classifier_identity(erm)]
            )
    here = erm.weights in ("hub", "none") or parse_weights(erm.weights, backbone_folder).is_local
    if here and _starts_from_weights(config):
        yield _Look("erm.", partial(_check_backbone, erm), lambda: [erm.model_dump_json(), backbone_identity(erm)])
    if isinstance(segment, GivenMasksConfig):
        yield _Look("segment.masks", partial(open_given_masks, segment.masks))
    for name in KINDS[segment.backend]:
        weights = part_weights(segment, name)
        if weights.is_local:
            facts = partial(_facts, segment, weights)
            yield _Look(f"segment.{name}", partial(_open_part, segment, name), facts)
    if isinstance(inpaint, LatentDiffusionConfig) and diffusion_weights(inpaint).is_local:
        tokens, facts = config.invert.tokens, partial(_facts, inpaint, diffusion_weights(inpaint))
        yield _Look("inpaint.weights", partial(_open_diffusion, inpaint, tokens), None if tokens else facts)


def _classifier_facts(settings: ErmConfig) -> list[str]:
    return ["classifier", settings.model_dump_json(), classifier_identity(settings)]


def _facts(settings: SegmentConfig | LatentDiffusionConfig, weights: Weights) -> list[str]:
    return [settings.model_dump_json(), weights.identity]


def _check_backbone(settings: ErmConfig) -> None:
    from ddb.backends.classifiers.timm_classifier import check_backbone

    check_backbone(settings)


def _open_classifier(settings: ErmConfig) -> None:
    from ddb.backends.classifiers.adopted import check_trained

    check_trained(settings)


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
    from ddb.backends.generators.diffusion.network.loading import open_diffusion

    model = open_diffusion(diffusion_weights(settings), META)
    given = {f"<{name}>": Path(file).expanduser() for name, file in tokens.items()}
    LatentDiffusion(model, settings, model.prompts.read(given))
