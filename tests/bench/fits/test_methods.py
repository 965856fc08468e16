from __future__ import annotations

import pytest

from ddb.bench.fits.methods import DdbSettings, method
from ddb.bench.options import DDB
from ddb.config.load import load_config


@pytest.mark.parametrize("preset", ["pocket-waterbirds", "pocket-metashift", "pocket-celeba", "pocket-urban"])
@pytest.mark.parametrize("psi", ["literal", "relative", "off"])
def test_the_settings_of_ddb_are_four_different_ones(preset: str, psi: str) -> None:
    """Whatever rule of the psi head the preset has; the first is the preset's own."""
    config = load_config(preset, [f"prune.psi={psi}"])
    tried = [DdbSettings.model_validate(setting).applied(config) for setting in method(DDB, config).grid]
    assert tried[0] == config
    assert len({one.model_dump_json() for one in tried}) == 4
