"""ddb run --discover: the run uses what was found, and does not look for it twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import miniature
from ddb.config import RunConfig
from ddb.discovery import run as discovery
from ddb.discovery.before_run import discover_first
from ddb.errors import ConfigError

Settings = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def config(birds: Path) -> RunConfig:
    return miniature.configuration(
        birds, discover={"encoder": "pocket"}, inpaint={"backend": "copy_paste", "batch_size": 6, "per_class": 8}
    )


@pytest.fixture(scope="module")
def finished(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("before") / "run"
    return miniature.run(discover_first(config, out, say=lambda line: None), out)


def test_the_groups_choose_the_epochs_and_are_measured(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["selection"]["selection"] == "discovered"
    assert metrics["attributes"] == ["land", "water"]
    for when in ("before", "after"):
        own = metrics["discovered"][when]
        names = {row["attribute_name"] for row in own["groups"]}
        assert names <= {"forest", "woods", "lake", "pond"} and len(names) == 2
        assert own["worst_group_accuracy"] == min(row["accuracy"] for row in own["groups"])
        given = {row["attribute_name"] for row in metrics[when]["groups"]}
        assert given == {"land", "water"}  # those that were given stay


def test_the_report_says_that_they_are_discovered(finished: Path) -> None:
    assert "discovered" in (finished / "report.html").read_text()


def test_nothing_is_computed_a_second_time(config: RunConfig, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*given: object, **named: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(discovery, "discover", again)
    said: list[str] = []
    miniature.run(discover_first(config, finished, say=said.append), finished)
    assert not miniature.computed(finished)
    assert len(said) == 1 and "discover.html" in said[0]
    with pytest.raises(AssertionError, match="looked again"):
        discover_first(config.model_copy(update={"seed": 7}), finished, say=said.append)


def test_a_dry_run_looks_for_nothing(config: RunConfig, tmp_path: Path) -> None:
    said: list[str] = []
    assert discover_first(config, tmp_path / "run", dry=True, say=said.append) == config
    assert said == ["discover: to be computed first"]


def test_a_launch_of_several_processes_does_not_look(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("MASTER_ADDR", "x"),
        ("MASTER_PORT", "1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="in one process"):
        discover_first(config, tmp_path / "run", say=lambda line: None)


def test_where_nothing_is_found_the_run_stays_as_it_is(config: RunConfig, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished / "discover", out / "discover")
    facts = json.loads((out / "discover" / "discover.json").read_text())
    (out / "discover" / "discover.json").write_text(json.dumps({**facts, "usable": False}))
    assert discover_first(config, out, say=lambda line: None) == config
