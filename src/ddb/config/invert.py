"""Settings of stage invert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from ddb.config.section import Name, PositiveInt, Section, content


class InvertConfig(Section):
    representatives: int = content(
        30, ge=0, le=1000, description="images a token is learned from (paper: 20-40); 0: no token"
    )
    noise_quantile: float = content(
        0.0, ge=0, lt=0.5, description="share of highest-loss images skipped as label noise"
    )
    steps: PositiveInt = content(1000, description="optimiser steps")
    batch_size: PositiveInt = content(4, description="images in a step")
    lr: float = content(5e-3, gt=0, description="learning rate of the token's vectors (AdamW)")
    vectors: int = content(2, ge=1, le=16, description="embedding vectors a token")
    init: Annotated[str, StringConstraints(strip_whitespace=True)] = content(
        "", description="word whose embedding the vectors start from; empty: the phrase"
    )
    inside_mask: bool = content(True, description="learn from the causal part alone, not from its usual background")
    check_every: PositiveInt = content(50, description="steps between held-out losses, which say what vectors are kept")
    rows: Literal["fp32", "bf16"] = content(
        "fp32", description="precision in which a token's vectors are kept and used"
    )
    tokens: dict[Name, Name] = content(
        {},
        reference=True,
        description="tokens from elsewhere, not learned: class name -> safetensors file in diffusers' form",
    )
