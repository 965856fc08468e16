"""All settings of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from ddb.config.data import DataConfig
from ddb.config.discover import DiscoverConfig
from ddb.config.erm import ErmConfig
from ddb.config.evaluate import EvaluateConfig
from ddb.config.inpaint import InpaintConfig, LatentDiffusionConfig
from ddb.config.invert import InvertConfig
from ddb.config.prune import PruneConfig
from ddb.config.ray import RayConfig
from ddb.config.retrain import RetrainConfig
from ddb.config.score import ScoreConfig
from ddb.config.section import Section, Seed, Share, content, execution, sections_of
from ddb.config.segment import ClipsegConfig, SegmentConfig


class RunConfig(Section):
    version: Literal[1] = execution(1, description="form of these settings")
    name: str = execution(
        "run", min_length=1, max_length=80, pattern=r"^[A-Za-z0-9._-]+$", description="name of the run"
    )
    seed: Seed = content(
        0, reads=("erm", "invert", "inpaint", "retrain"), description="every random draw comes from it"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = execution("auto", description="where models run")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = content(
        "auto",
        reads=("erm", "invert", "segment", "inpaint", "retrain"),
        description="of models at inference and training",
    )
    max_error_rate: Share = execution(0.05, description="a stage fails when more of its rows do")
    resume_elsewhere: Literal["refuse", "continue"] = execution(
        "refuse",
        description="where a stage began under another kind of device, precision or version of ddb: stop, or go on",
    )
    data: DataConfig = DataConfig()
    erm: ErmConfig = ErmConfig()
    invert: InvertConfig = InvertConfig()
    segment: SegmentConfig = ClipsegConfig()
    inpaint: InpaintConfig = LatentDiffusionConfig()
    score: ScoreConfig = ScoreConfig()
    prune: PruneConfig = PruneConfig()
    retrain: RetrainConfig = RetrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    discover: DiscoverConfig = DiscoverConfig()
    ray: RayConfig = RayConfig()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not name.strip("."):
            raise ValueError("should hold more than dots: it names the run folder")
        return name


BACKENDS: dict[str, dict[str, type[Section]]] = {
    name: {one.model_fields["backend"].default: one for one in kinds}
    for name, field in RunConfig.model_fields.items()
    if len(kinds := sections_of(field)) > 1
}
"""Section with several backends -> name of a backend -> its settings."""
