"""Settings of the data: what a pocket world starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddb.config import PocketConfig
from ddb.config.load import config_text, load_config
from ddb.errors import ConfigError


def test_a_world_starts_from_its_benchmarks_sizes_and_settings_win() -> None:
    sizes = {
        "waterbirds": (2400, 600, 2000, 0.95),
        "metashift": (1700, 200, 576, 0.8824),
        "celeba": (3000, 600, 2000, 0.9428),
        "urban": (2400, 600, 2000, 0.95),
    }
    for world, expected in sizes.items():
        config = PocketConfig.model_validate({"world": world})
        assert (config.train, config.val, config.test, config.correlation) == expected
    changed = load_config("pocket-metashift", ["data.pocket.train=600", "data.pocket.correlation=0.7"]).data.pocket
    assert (changed.train, changed.val, changed.correlation) == (600, 200, 0.7)


@pytest.mark.parametrize("preset", ["pocket-waterbirds", "pocket-metashift", "pocket-celeba", "pocket-urban"])
def test_a_world_comes_back_from_its_own_text(preset: str, tmp_path: Path) -> None:
    config = load_config(preset, ["data.pocket.train=90"])
    (tmp_path / "run.yaml").write_text(config_text(config))
    assert load_config(tmp_path / "run.yaml") == config


def test_an_unknown_world_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.pocket\.world: should be 'waterbirds', 'metashift', 'celeba' or 'urban', got"
    ):
        load_config("pocket-celeba", ["data.pocket.world=faces"])
    with pytest.raises(ConfigError, match=r"data\.pocket\.world: .* got 7"):
        load_config("pocket-celeba", ["data.pocket.world=7"])
