"""Settings of `ddb discover`. Stages do not read them: they read the groups that it writes (`data.groups`)."""

from __future__ import annotations

from typing import Literal

from ddb.config.section import Name, PositiveInt, Section, Share, execution, extent


class DiscoverConfig(Section):
    encoder: Name = extent(
        "clip-vit-b32", description='CLIP or SigLIP that embeds and names: role, hub id, folder, or "pocket"'
    )
    vocabulary: str = extent("", description="text file, a word or short phrase a line; empty: ddb's own words")
    hole: Literal["box", "mask"] = extent(
        "box",
        description="what is filled where the object was: a box whose size tells nothing of the class, or the mask "
        "itself (for objects that enclose what surrounds them, as hair a face)",
    )
    alpha: float = extent(
        0.01, gt=0, lt=1, description="a cluster is reported if its corrected p-value is at most this"
    )
    strength: Share = extent(
        0.2, description="and if its correlation with a class (phi) is at least this; smaller ones are no shortcut"
    )
    batch_size: PositiveInt = execution(64, description="images in a batch")
