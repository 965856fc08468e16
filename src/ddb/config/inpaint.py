"""Settings of stage inpaint: one class per generator, with the fields that this generator reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from ddb.config.choice import starting_with, tag_required
from ddb.config.section import Name, PositiveInt, Section, StageName, content, execution, extent

MODEL: tuple[StageName, ...] = ("inpaint", "invert")
"""Stages that read the settings of the generator's model: tokens are learned with the same model."""
BACKEND = "what paints: latent_diffusion (paper), or copy_paste, the object of another image"


def _counts(value: Any) -> Any:
    """One fault for a wrong value, where a union of types would report one for each of them."""
    several = isinstance(value, list | tuple)
    counts, least = (value, 0) if several else ([value], 1)
    if value is not None and (not counts or any(type(count) is not int or count < least for count in counts)):
        raise ValueError("should be a number above 0, or a list with one for each class, such as [1300, 1112]")
    if several and not any(counts):
        raise ValueError("should hold a number above 0, or no counterfactual would be made")
    return value


def _size(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError("should be a number above 0, or auto")
    return value


class GeneratorConfig(Section):
    """Settings that every generator reads."""

    backend: str
    per_class: Annotated[int | tuple[int, ...] | None, BeforeValidator(_counts)] = extent(
        None,
        description="counterfactuals made from each class, or a list with one number a class; empty: target's size",
    )
    template: str = content(
        "a photo of a {token} {phrase}", reads=MODEL, description="prompt; must hold {token} and {phrase}"
    )
    variety: tuple[Annotated[str, Field(pattern=r"^[\w'-]+( [\w'-]+)*$")], ...] = content(
        (), description="words before the noun, one a counterfactual in turn, so that they vary; empty: none (paper)"
    )
    feather: int = content(2, ge=0, le=64, description="width of the soft edge inside the mask, pixels of the image")
    paste: Literal["region", "objects"] = content(
        "region", description="what is taken over of what was painted: all (paper), or the old object and the new one"
    )

    @field_validator("template")
    @classmethod
    def _two_slots(cls, template: str) -> str:
        rest = template
        for slot in ("{token}", "{phrase}"):
            if template.count(slot) != 1:
                raise ValueError("should hold {token} and {phrase} once each")
            rest = rest.replace(slot, "")
        if "{" in rest or "}" in rest:
            raise ValueError("should hold no braces but those of {token} and {phrase}")
        return template


AUTO_BATCH = 8
"""Batch size where "auto" measures nothing: on the CPU, and where the workers of a cluster paint."""


class LatentDiffusionConfig(GeneratorConfig):
    backend: Literal["latent_diffusion"] = content("latent_diffusion", reads=MODEL, description=BACKEND)
    weights: Name = content(
        "sd2-community/stable-diffusion-2-inpainting",
        reads=MODEL,
        reference=True,
        description='role, hub id, local folder, or "pocket"',
    )
    image_size: int = content(512, ge=32, le=2048, reads=MODEL, description="side at which the generator works, pixels")
    steps: PositiveInt = content(25, description="denoising steps")
    guidance: float = content(7.5, ge=1, le=30, description="classifier-free guidance scale; 1: off")
    guidance_end: float = content(
        1.0, gt=0, le=1, description="share of the steps, from the noisiest on, that are guided; the rest cost half"
    )
    deep_every: PositiveInt = content(
        1,
        description="the UNet's inner layers are computed in every n-th step and reused in between; 1: in each (paper)",
    )
    against: Literal["nothing", "source"] = content(
        "nothing", description="what guidance leads away from: the empty prompt (paper), or the source's own class"
    )
    batch_size: Annotated[int | Literal["auto"], BeforeValidator(_size)] = execution(
        "auto",
        description="counterfactuals in a batch; auto: as many as fit into the GPU's memory, at most 32; on the CPU 8",
    )
    compile: Literal["auto", "on", "off"] = execution(
        "auto",
        description="compile the UNet (torch.compile); auto: on a GPU, from 2,000 images on",
    )
    strength: float = content(1.0, gt=0, le=1, description="share of the noise schedule that is run")
    scheduler: Literal["ddim", "dpmpp", "unipc", "euler", "pndm", "lcm"] = content(
        "dpmpp", description="sampler; lcm: for latent consistency models, up to 50 steps, 4-8 are enough"
    )
    crop: bool = content(
        False, reads=MODEL, description="zoom in on the mask, paint there at full resolution, paste back"
    )

    @model_validator(mode="after")
    def _some_step(self) -> Self:
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"strength {self.strength} of {self.steps} steps leaves none; raise strength or steps")
        return self


class CopyPasteConfig(GeneratorConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["copy_paste"] = content("copy_paste", reads=MODEL, description=BACKEND)
    batch_size: PositiveInt = execution(8, description="counterfactuals in a batch")


InpaintConfig = Annotated[
    LatentDiffusionConfig | CopyPasteConfig,
    Field(discriminator="backend"),
    BeforeValidator(starting_with("latent_diffusion")),
]
"""Settings of the generator that `backend` names; latent_diffusion where it names none."""

_INPAINT: TypeAdapter[InpaintConfig] = TypeAdapter(InpaintConfig)


def inpaint_config(**values: Any) -> InpaintConfig:
    """Settings of the generator `backend` (default: latent_diffusion). pydantic's ValidationError lists the faults."""
    return _INPAINT.validate_python(values)
