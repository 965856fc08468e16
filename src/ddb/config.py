"""Every setting of a run: one frozen model a stage, each field with its meaning, unit and range.

Where the paper says a value, the field's description says "paper"; everything else is ours.
`ddb.config_load` builds a `RunConfig` from a preset or YAML file and `--set a.b=c` overrides.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ddb.config_data import DataConfig as DataConfig
from ddb.config_data import PocketConfig as PocketConfig
from ddb.config_data import PositiveInt, Section, Share


def _counts(value: Any) -> Any:
    """One fault for a wrong value, where a union of types would report one for each of them."""
    several = isinstance(value, list | tuple)
    counts, least = (value, 0) if several else ([value], 1)
    if value is not None and (not counts or any(type(count) is not int or count < least for count in counts)):
        raise ValueError("should be a number above 0, or a list with one for each class, such as [1300, 1112]")
    return value


class Augment(Section):
    """Training augmentation; evaluation uses none."""

    scale: tuple[float, float] = Field((0.7, 1.0), description="area share of the random resized crop")
    flip: bool = Field(True, description="mirror half of the images")
    colour: float = Field(0.0, ge=0, le=1, description="strength of brightness, contrast and saturation jitter")
    blur: Share = Field(0.0, description="share of images that are blurred slightly (hides traces of a generator)")
    noise: float = Field(0.0, ge=0, le=64, description="largest standard deviation of added noise, grey levels")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError("should be two rising shares above 0 and up to 1, such as [0.7, 1.0]")
        return scale


class FitConfig(Section):
    """Settings that ERM and retraining share."""

    epochs: PositiveInt = Field(20, description="passes over the training images")
    batch_size: PositiveInt = Field(32, description="training images in a step")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-3, ge=0, description="decoupled for adamw, L2 for sgd")
    optimiser: Literal["sgd", "adamw"] = Field("sgd", description="sgd: momentum 0.9")
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rate over the run")
    augment: Augment = Augment()
    selection: Literal["last", "mean", "worst_class", "worst_group", "counterfactual"] = Field(
        "worst_class", description="validation figure that picks the epoch; only worst_group needs group labels"
    )


class ErmConfig(FitConfig):
    backbone: str = Field("resnet50.tv_in1k", description="timm architecture; pocket weights bring their own")
    weights: str = Field("hub", description='"hub", "pocket", "none", a role, hub id, or path to a safetensors file')
    image_size: int = Field(224, ge=32, le=1024, description="side of the square input, pixels")
    rank_epoch: int | None = Field(None, ge=1, description="epoch whose losses rank the samples; empty: the one kept")

    @model_validator(mode="after")
    def _rank_within_run(self) -> Self:
        if self.rank_epoch and self.rank_epoch > self.epochs:
            raise ValueError(f"rank_epoch {self.rank_epoch} is after the last of {self.epochs} epochs")
        return self


class InvertConfig(Section):
    representatives: int = Field(
        30, ge=0, le=1000, description="images a token is learned from (paper: 20-40); 0: no token"
    )
    noise_quantile: float = Field(0.0, ge=0, lt=0.5, description="share of highest-loss images skipped as label noise")
    steps: PositiveInt = Field(1000, description="optimiser steps")
    batch_size: PositiveInt = Field(4, description="images in a step")
    lr: float = Field(5e-3, gt=0, description="learning rate of the token's vectors (AdamW)")
    vectors: int = Field(2, ge=1, le=16, description="embedding vectors a token")
    init: str = Field("", description="word whose embedding the vectors start from; empty: the phrase")
    inside_mask: bool = Field(True, description="learn from the causal part alone, not from its usual background")
    check_every: PositiveInt = Field(50, description="steps between held-out losses, which say what vectors are kept")
    rows: Literal["fp32", "bf16"] = Field("fp32", description="precision in which a token's vectors are kept and used")
    tokens: dict[str, str] = Field(
        default_factory=dict,
        description="tokens from elsewhere, not learned: class name -> safetensors file in diffusers' form",
    )


SEGMENTER_STARTS: dict[str, dict[str, str | float]] = {
    "owlv2_sam": {"detector": "google/owlv2-base-patch16-ensemble", "box_threshold": 0.1},
    "sam3": {"weights": "facebook/sam3"},
    "face_parsing": {"weights": "jonathandinu/face-parsing"},
}
"""Values that a segmenter starts from instead of the defaults of `SegmentConfig`."""


class SegmentConfig(Section):
    backend: Literal["clipseg", "grounded_sam", "owlv2_sam", "sam3", "face_parsing", "given"] = Field(
        "clipseg",
        description="grounded_sam: paper; clipseg, owlv2_sam, sam3: prompted too; face_parsing: `labels`; given: files",
    )
    weights: str = Field("CIDAS/clipseg-rd64-refined", description='role, hub id, folder, or "pocket" (clipseg)')
    detector: str = Field("IDEA-Research/grounding-dino-base", description="what finds boxes: role, hub id, folder")
    mask_model: str = Field("facebook/sam-vit-huge", description="SAM or SAM 2: role, hub id or folder")
    masks: str = Field("", description="folder of given masks: <path of the image without suffix>.png, 255 = causal")
    threshold: Share = Field(0.5, description="probability above which a pixel is causal")
    box_threshold: Share = Field(0.3, description="score above which a box or a sam3 object counts (paper: LangSAM's)")
    text_threshold: Share = Field(
        0.25, description="grounded_sam: score that a word of the phrase must exceed in a box (paper: LangSAM's)"
    )
    concept: Literal["instances", "semantic"] = Field(
        "instances", description="sam3: all objects above box_threshold, or its map of the phrase above threshold"
    )
    labels: tuple[str, ...] = Field(
        ("hair",), min_length=1, description="face_parsing: names or numbers of the causal parts"
    )
    shape: Literal["tight", "dilated", "hull", "square"] = Field("square", description="shape of the repainted region")
    expand: float = Field(1.2, ge=1, le=4, description="growth of the region about its centre")
    min_side: Share = Field(0.0, description="smallest side of a square region, share of the image's shorter side")
    min_area: Share = Field(0.005, description="smaller causal parts are skipped, share of the image")
    max_area: Share = Field(0.8, description="larger regions are skipped: no background would be left")
    max_border: Share | None = Field(
        None, description="causal parts with more of their outline on the image's border are skipped; empty: none"
    )
    batch_size: PositiveInt = Field(16, description="images in a batch; halved where memory runs out")

    @model_validator(mode="before")
    @classmethod
    def _start(cls, values: Any) -> Any:
        """What the backend starts from, where nothing else is said."""
        if not isinstance(values, dict) or not isinstance(values.get("backend"), str):
            return values
        return SEGMENTER_STARTS.get(values["backend"], {}) | values

    @model_validator(mode="after")
    def _masks_where_given(self) -> Self:
        if self.backend == "given" and not self.masks:
            raise ValueError('backend "given" needs `masks`, the folder of mask files')
        if self.backend in ("sam3", "face_parsing") and self.weights == "pocket":
            raise ValueError(f'the pocket weights are a CLIPSeg\'s: backend "{self.backend}" needs its own `weights`')
        return self


class InpaintConfig(Section):
    backend: Literal["latent_diffusion", "copy_paste"] = Field("latent_diffusion", description="what paints")
    weights: str = Field(
        "sd2-community/stable-diffusion-2-inpainting", description='role, hub id, local folder, or "pocket"'
    )
    per_class: Annotated[int | tuple[int, ...] | None, BeforeValidator(_counts)] = Field(
        None,
        description="counterfactuals made from each class, or a list with one number a class; empty: target's size",
    )
    image_size: int = Field(512, ge=32, le=2048, description="side at which the generator works, pixels")
    steps: PositiveInt = Field(25, description="denoising steps")
    guidance: float = Field(7.5, ge=1, le=30, description="classifier-free guidance scale; 1: off")
    guidance_end: float = Field(
        1.0, gt=0, le=1, description="share of the steps, from the noisiest on, that are guided; the rest cost half"
    )
    against: Literal["nothing", "source"] = Field(
        "nothing", description="what guidance leads away from: the empty prompt (paper), or the source's own class"
    )
    strength: float = Field(1.0, gt=0, le=1, description="share of the noise schedule that is run")
    scheduler: Literal["ddim", "dpmpp", "unipc", "euler", "pndm", "lcm"] = Field(
        "dpmpp", description="sampler; lcm: for latent consistency models, up to 50 steps, 4-8 are enough"
    )
    template: str = Field("a photo of a {token} {phrase}", description="prompt; must hold {token} and {phrase}")
    variety: tuple[Annotated[str, Field(pattern=r"^[\w' -]+$")], ...] = Field(
        (), description="words before the noun, one a counterfactual in turn, so that they vary; empty: none (paper)"
    )
    crop: bool = Field(False, description="zoom in on the mask, paint there at full resolution, paste back")
    feather: int = Field(2, ge=0, le=64, description="width of the soft edge inside the mask, pixels of the image")
    paste: Literal["region", "objects"] = Field(
        "region", description="what is taken over of what was painted: all (paper), or the old object and the new one"
    )
    batch_size: PositiveInt = Field(8, description="counterfactuals in a batch")

    @field_validator("template")
    @classmethod
    def _two_places(cls, template: str) -> str:
        if any(template.count(place) != 1 for place in ("{token}", "{phrase}")):
            raise ValueError("should hold {token} and {phrase} once each")
        return template


class ScoreConfig(Section):
    output: Literal["logit", "probability"] = Field("logit", description="f in the attribution score")
    method: Literal["auto", "exact", "integral"] = Field(
        "auto", description="auto: closed form where pixels outside the mask are the source's"
    )
    ig_steps: PositiveInt = Field(32, description="points of the integral (Gauss-Legendre)")
    maps: int = Field(12, ge=0, le=1000, description="attribution maps kept for the report, each direction")
    batch_size: PositiveInt = Field(64, description="images in a batch")


class PruneConfig(Section):
    psi: Literal["literal", "relative", "off"] = Field(
        "literal",
        description="literal (paper): prune psi_from >= class mean; relative: prune >= psi_ratio * psi_from_source",
    )
    psi_ratio: Share = Field(0.9, description="relative rule: share of the source's probability that may remain")
    rho: Literal["value", "quantile", "mean", "off"] = Field(
        "value", description="threshold of rho: a number, a quantile of the direction, its mean"
    )
    rho_threshold: float = Field(0.0, description="number or quantile, as `rho` says")
    max_pruned: Share = Field(
        0.9, description="a head that prunes more of a direction than this falls back to psi_fallback"
    )
    fallback: Literal["relative", "quantile", "none"] = Field(
        "quantile", description="rule in place of a head that emptied a direction"
    )
    fallback_quantile: Share = Field(0.5, description="quantile fallback: share of the direction pruned by the head")
    max_rounds: int = Field(
        1, ge=1, le=10, description="rounds of new variants for rejected sources until the budget is met"
    )


class RetrainConfig(FitConfig):
    gammas: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1.0, 1.0), description="weight of each class's counterfactual loss (paper: gamma_1, gamma_2)"
    )
    start: Literal["erm", "pretrained"] = Field("erm", description="weights to start from (paper: erm)")
    last_layer_only: bool = Field(False, description="train the classification layer alone")
    generated_batch: PositiveInt = Field(16, description="counterfactuals of each class in a step")


class EvaluateConfig(Section):
    in_distribution: int = Field(
        0, ge=0, description="training-like images drawn for the in-distribution accuracy (pocket only)"
    )
    batch_size: PositiveInt = Field(128, description="images in a batch")


class RunConfig(Section):
    version: Literal[1] = 1
    name: str = Field("run", min_length=1, max_length=80, pattern=r"^[A-Za-z0-9._-]+$", description="name of the run")
    seed: int = Field(0, ge=0, description="every random draw comes from it")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where models run")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of models at inference and training"
    )
    max_error_rate: Share = Field(0.05, description="a stage fails when more of its rows do")
    replace_stale: bool = Field(True, description="recompute stages whose settings changed; false: stop and say so")
    data: DataConfig = DataConfig()
    erm: ErmConfig = ErmConfig()
    invert: InvertConfig = InvertConfig()
    segment: SegmentConfig = SegmentConfig()
    inpaint: InpaintConfig = InpaintConfig()
    score: ScoreConfig = ScoreConfig()
    prune: PruneConfig = PruneConfig()
    retrain: RetrainConfig = RetrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
