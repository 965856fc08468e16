"""Settings of a run on a Ray cluster (`--engine ray`)."""

from __future__ import annotations

from ddb.config.section import Section, execution


class RayConfig(Section):
    workers: int = execution(
        0, ge=0, le=10_000, description="workers at once; 0: one for each GPU, or as many as the CPUs have threads for"
    )
    stuck_after: float = execution(
        600.0,
        gt=0,
        description="seconds after which a batch is given to another worker, if it also takes 10 times the usual time",
    )
