"""All settings of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ddb.config.data import DataConfig
from ddb.config.erm import ErmConfig
from ddb.config.evaluate import EvaluateConfig
from ddb.config.inpaint import InpaintConfig
from ddb.config.invert import InvertConfig
from ddb.config.prune import PruneConfig
from ddb.config.retrain import RetrainConfig
from ddb.config.score import ScoreConfig
from ddb.config.section import Section, Share
from ddb.config.segment import SegmentConfig


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
