"""Settings of the data: where samples come from."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from ddb.config.section import Section, Seed, Share, content, execution, extent

WORLD_STARTS: dict[str, dict[str, float]] = {
    "metashift": {"train": 1700, "val": 200, "test": 576, "correlation": 0.8824},
    "celeba": {"train": 3000, "val": 600, "test": 2000, "correlation": 0.9428},
    "urban": {"waterbirds": 0.5},
}
"""Defaults of a world that differ from those of `PocketConfig`: MetaShift's sizes (750 and 100 images per class; 144
per group in the test split), CelebA's shares (22,880 of 24,267 blond training images are women), UrbanCars' equal
classes."""
VARIANTS = {
    "metashift": ("pooled", "cabinet-bed", "bag-box", "bench-bike", "boat-surfboard"),
    "spawrious": ("o2o-easy", "o2o-medium", "o2o-hard", "m2m-easy", "m2m-medium", "m2m-hard"),
    "imagenet9": ("original", "in9l"),
}
"""Values of `data.variant`, by source."""
COLUMNS = {"auto", "table", "celeba", "wilds", "subpopbench", "huggingface"}
"""Sources whose label and attribute are any of several columns."""
SHORTCUTS = ("background", "object")
"""Values of `data.attribute` where images have two spurious attributes: UrbanCars and the pocket world urban."""


class PocketConfig(Section):
    """The built-in worlds, where `data.source` is "pocket"."""

    world: Literal["waterbirds", "metashift", "celeba", "urban"] = extent(
        "waterbirds",
        description="miniature: birds and places, cats and dogs beside things, hair and faces, birds and places with "
        "things beside the birds",
    )
    train: int = extent(2400, ge=20, le=1_000_000, description="training images")
    val: int = extent(600, ge=8, le=1_000_000, description="validation images")
    test: int = extent(2000, ge=8, le=1_000_000, description="test images")
    correlation: Share = extent(
        0.95, description="share of training images whose place fits their class (celeba: of the blond ones)"
    )
    beside: Share = extent(
        0.95, description="urban: share of training images whose thing beside the bird fits their class"
    )
    waterbirds: float = extent(
        0.22, gt=0, lt=1, description="waterbirds: share of waterbirds in every split; urban: in training images"
    )
    blond: float = extent(0.149, gt=0, lt=1, description="celeba: share of training images that are blond")
    square: Share = extent(0.4828, description="celeba: share of square faces in training images that are not blond")
    seed: Seed = extent(0, description="seed of the drawn data set")

    @model_validator(mode="before")
    @classmethod
    def _start(cls, values: Any) -> Any:
        """Add the defaults of the world for keys that are not given."""
        if not isinstance(values, dict) or not isinstance(values.get("world"), str):
            return values
        return WORLD_STARTS.get(values["world"], {}) | values


class DataConfig(Section):
    source: Literal[
        "pocket",
        "waterbirds",
        "folder",
        "table",
        "celeba",
        "metashift",
        "urbancars",
        "spawrious",
        "nico",
        "imagenet9",
        "wilds",
        "subpopbench",
        "huggingface",
        "auto",
    ] = extent(
        "folder",
        description="pocket: drawn by ddb; folder: class folders; table: CSV/Parquet; auto: what `ddb data inspect` "
        "finds; others: layouts of docs/datasets.md",
    )
    root: str = extent("", description="folder (or CSV/Parquet file) that holds the data; unused by the pocket source")
    target: str = extent(
        "", description="attribute or column that is the label; empty: the usual one (celeba: Blond_Hair)"
    )
    attribute: str = extent(
        "",
        description="attribute or column that groups are made with; empty: the usual one (celeba: Male; urbancars: "
        "background and object together)",
    )
    groups: str = extent(
        "", description="groups.csv that `ddb discover` wrote for this data: a second attribute beside the given one"
    )
    variant: str = extent(
        "",
        description="metashift: dogs to train on (empty: bench-bike, as DISC), pooled: folders' splits forgotten; "
        "spawrious: challenge, such as o2o-hard; imagenet9: training images, original or in9l",
    )
    classes: tuple[str, ...] = extent((), description="classes to use, in label order; empty: all, sorted by name")
    phrase: str = content(
        "object",
        reads=("invert", "segment", "inpaint"),
        description="superclass noun, in prompts and for segmentation; dots and spaces about it go, words with "
        "no capital but their first letter are written small (Bird is bird, TV stays)",
    )
    val_share: float = extent(0.15, gt=0, lt=0.9, description="share held out where the data has no validation split")
    test_share: float = extent(0.2, gt=0, lt=0.9, description="share held out where the data has no test split")
    split_seed: Seed = extent(0, description="seed of a split made here")
    val_from: Literal["train", "test"] = extent(
        "train", description="images that a missing validation split is taken from (test: as DISC does for MetaShift)"
    )
    max_megapixels: float = extent(50, gt=0, description="larger images are quarantined, in millions of pixels")
    decode_once: bool = execution(
        True, description="keep decoded pixels on disk (images x side x side x 3 bytes); false: decode at every use"
    )
    pocket: PocketConfig = PocketConfig()

    @field_validator("phrase")
    @classmethod
    def _one_spelling(cls, phrase: str) -> str:
        """The normalised phrase, which all prompts and segmenters use."""
        if set("<>{}") & set(phrase):
            raise ValueError("should hold none of < > { }, which mark tokens and places in prompts")
        words = " ".join(phrase.split()).strip(" .").split()
        if not any(character.isalnum() for word in words for character in word):
            raise ValueError("should be the noun that all classes share, such as bird")
        return " ".join(word.lower() if word[1:] == word[1:].lower() else word for word in words)

    @field_validator("classes")
    @classmethod
    def _told_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes and (len(classes) < 2 or len(set(classes)) < len(classes) or not all(map(str.strip, classes))):
            raise ValueError("should name two classes or more, each once, or be empty for all")
        return classes

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check_attributes()
        if self.val_from == "train" and self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share {self.val_share} and test_share {self.test_share} leave nothing to train on")
        known = [name for source, names in VARIANTS.items() for name in names if self.source in (source, "auto")]
        if self.variant and self.variant not in known:
            where = [source for source, names in VARIANTS.items() if self.variant in names]
            told = f"is for source {where[0]}" if where else "is unknown"
            raise ValueError(f"variant {self.variant!r} {told}; source {self.source} has {', '.join(known) or 'none'}")
        return self

    def _check_attributes(self) -> None:
        if self.target and self.target == self.attribute:
            raise ValueError(f"target and attribute are both {self.target!r}: name two")
        two = self.source == "urbancars" or (self.source == "pocket" and self.pocket.world == "urban")
        for name in ("target", "attribute"):
            value = getattr(self, name)
            if not value or self.source in COLUMNS:
                continue
            if name == "target" or not two:
                raise ValueError(f"source {self.source!r} has no choice of {name}: leave `{name}` empty")
            if value not in SHORTCUTS:
                raise ValueError(f"attribute {value!r} is unknown: use {' or '.join(SHORTCUTS)}, or leave it empty")
