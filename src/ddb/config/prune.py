"""Settings of stage prune."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ddb.config.section import Section, Share, content, extent


class PruneConfig(Section):
    psi: Literal["literal", "relative", "value", "off"] = content(
        "literal",
        description="prune psi_from >= literal (paper): class mean; relative: psi_ratio * psi_from_source; value: "
        "psi_threshold",
    )
    psi_threshold: Share = content(0.5, description="value rule: probability of the old class that is too high")
    psi_ratio: Share = content(0.9, description="relative rule: share of the source's probability that may remain")
    rho: Literal["value", "quantile", "mean", "off"] = content(
        "value", description="threshold of rho: a number, a quantile of the direction, its mean"
    )
    rho_threshold: float = content(0.0, description="number, or quantile in [0, 1], as `rho` says")
    max_pruned: Share = content(
        0.9, description="a head that prunes more of a direction than this falls back to `fallback`"
    )
    fallback: Literal["relative", "quantile", "none"] = content(
        "quantile", description="rule in place of a head that emptied a direction"
    )
    fallback_quantile: Share = content(0.5, description="quantile fallback: share of the direction pruned by the head")
    max_rounds: int = extent(
        1, ge=1, le=10, description="rounds of new variants for rejected sources until the budget is met"
    )

    @model_validator(mode="after")
    def _quantile_is_a_share(self) -> Self:
        if self.rho == "quantile" and not 0 <= self.rho_threshold <= 1:
            raise ValueError(
                f'with rho "quantile", rho_threshold should be a share from 0 to 1, got {self.rho_threshold}'
            )
        return self
