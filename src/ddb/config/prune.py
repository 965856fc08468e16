"""Settings of stage prune."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ddb.config.section import Section, Share


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
