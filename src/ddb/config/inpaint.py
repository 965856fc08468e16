"""Settings of stage inpaint."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from ddb.config.section import PositiveInt, Section


def _counts(value: Any) -> Any:
    """One fault for a wrong value, where a union of types would report one for each of them."""
    several = isinstance(value, list | tuple)
    counts, least = (value, 0) if several else ([value], 1)
    if value is not None and (not counts or any(type(count) is not int or count < least for count in counts)):
        raise ValueError("should be a number above 0, or a list with one for each class, such as [1300, 1112]")
    return value


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
