"""Settings of the data: where samples come from. Part of `ddb.config`, which names them too."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PocketConfig(Section):
    """The built-in world, where `data.source` is "pocket"."""

    train: int = Field(2400, ge=20, le=1_000_000, description="training images")
    val: int = Field(600, ge=8, le=1_000_000, description="validation images")
    test: int = Field(2000, ge=8, le=1_000_000, description="test images")
    correlation: Share = Field(0.95, description="share of training images whose place fits their class")
    waterbirds: float = Field(0.22, gt=0, lt=1, description="share of waterbirds in every split")
    seed: int = Field(0, ge=0, description="seed of the drawn data set")


class DataConfig(Section):
    source: Literal[
        "pocket",
        "waterbirds",
        "folder",
        "table",
        "celeba",
        "metashift",
        "wilds",
        "subpopbench",
        "huggingface",
        "auto",
    ] = Field(
        "folder",
        description="pocket: drawn by ddb; folder: class folders; table: CSV/Parquet; auto: what `ddb data inspect` "
        "finds; others: layouts of docs/datasets.md",
    )
    root: str = Field("", description="folder (or CSV/Parquet file) that holds the data; unused by the pocket source")
    target: str = Field(
        "", description="attribute or column that is the label; empty: the usual one (celeba: Blond_Hair)"
    )
    attribute: str = Field(
        "", description="attribute or column that groups are made with; empty: the usual one (celeba: Male)"
    )
    variant: Literal["", "pooled", "cabinet-bed", "bag-box", "bench-bike", "boat-surfboard"] = Field(
        "", description="metashift: dogs to train on (empty: bench-bike, as DISC); pooled: folders' splits forgotten"
    )
    classes: tuple[str, ...] = Field((), description="classes to use, in label order; empty: all, sorted by name")
    phrase: str = Field("object", min_length=1, description="superclass noun, in prompts and for segmentation")
    val_share: float = Field(0.15, gt=0, lt=0.9, description="share held out where the data has no validation split")
    test_share: float = Field(0.2, gt=0, lt=0.9, description="share held out where the data has no test split")
    split_seed: int = Field(0, ge=0, description="seed of a split made here")
    val_from: Literal["train", "test"] = Field(
        "train", description="images that a missing validation split is taken from (test: as DISC does for MetaShift)"
    )
    max_megapixels: float = Field(50, gt=0, description="larger images are quarantined, in millions of pixels")
    decode_once: bool = Field(
        True, description="keep decoded pixels on disk (images x side x side x 3 bytes); false: decode at every use"
    )
    pocket: PocketConfig = PocketConfig()

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> Self:
        if self.source in ("pocket", "waterbirds", "folder", "metashift"):
            for name in ("target", "attribute"):
                if getattr(self, name):
                    raise ValueError(f"source {self.source!r} has no choice of {name}: leave `{name}` empty")
        if self.target and self.target == self.attribute:
            raise ValueError(f"target and attribute are both {self.target!r}: name two")
        if self.variant and self.source not in ("metashift", "auto"):
            raise ValueError(f"variant {self.variant!r} is for source metashift alone")
        return self
