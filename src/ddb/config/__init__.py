"""Every setting of a run: a file and a frozen model a section, each field with its meaning, unit, range and mark.

The description of a field says "paper" where its value is the paper's; all other values are ours. The mark of a field
(`ddb.config.section`) says what the field decides; `ddb.config.marks` lists the settings that a stage's rows depend on.
`ddb.config.load` builds a `RunConfig` from a preset or YAML file and `--set a.b=c` overrides.
"""

from __future__ import annotations

from ddb.config.data import DataConfig as DataConfig
from ddb.config.data import PocketConfig as PocketConfig
from ddb.config.discover import DiscoverConfig as DiscoverConfig
from ddb.config.erm import ErmConfig as ErmConfig
from ddb.config.evaluate import EvaluateConfig as EvaluateConfig
from ddb.config.fit import Augment as Augment
from ddb.config.fit import FitConfig as FitConfig
from ddb.config.inpaint import CopyPasteConfig as CopyPasteConfig
from ddb.config.inpaint import InpaintConfig as InpaintConfig
from ddb.config.inpaint import LatentDiffusionConfig as LatentDiffusionConfig
from ddb.config.inpaint import inpaint_config as inpaint_config
from ddb.config.invert import InvertConfig as InvertConfig
from ddb.config.prune import PruneConfig as PruneConfig
from ddb.config.ray import RayConfig as RayConfig
from ddb.config.retrain import RetrainConfig as RetrainConfig
from ddb.config.run import RunConfig as RunConfig
from ddb.config.score import ScoreConfig as ScoreConfig
from ddb.config.segment import ClipsegConfig as ClipsegConfig
from ddb.config.segment import FaceParsingConfig as FaceParsingConfig
from ddb.config.segment import GivenMasksConfig as GivenMasksConfig
from ddb.config.segment import GroundedSamConfig as GroundedSamConfig
from ddb.config.segment import Owlv2SamConfig as Owlv2SamConfig
from ddb.config.segment import RegionConfig as RegionConfig
from ddb.config.segment import Sam3Config as Sam3Config
from ddb.config.segment import SegmentConfig as SegmentConfig
from ddb.config.segment import segment_config as segment_config
