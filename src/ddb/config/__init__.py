"""Every setting of a run: a file and a frozen model a section, each field with its meaning, unit and range.

Where the paper says a value, the field's description says "paper"; everything else is ours.
`ddb.config.load` builds a `RunConfig` from a preset or YAML file and `--set a.b=c` overrides.
"""

from __future__ import annotations

from ddb.config.data import DataConfig as DataConfig
from ddb.config.data import PocketConfig as PocketConfig
from ddb.config.erm import ErmConfig as ErmConfig
from ddb.config.evaluate import EvaluateConfig as EvaluateConfig
from ddb.config.fit import Augment as Augment
from ddb.config.fit import FitConfig as FitConfig
from ddb.config.inpaint import InpaintConfig as InpaintConfig
from ddb.config.invert import InvertConfig as InvertConfig
from ddb.config.prune import PruneConfig as PruneConfig
from ddb.config.retrain import RetrainConfig as RetrainConfig
from ddb.config.run import RunConfig as RunConfig
from ddb.config.score import ScoreConfig as ScoreConfig
from ddb.config.segment import SegmentConfig as SegmentConfig
