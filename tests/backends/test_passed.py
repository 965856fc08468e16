"""A check that passed is not repeated; one that failed, or another one, is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddb.backends import checks, passed
from ddb.backends.passed import Passed
from ddb.config import RunConfig
from ddb.errors import ModelError


def test_what_passed_is_not_checked_again_while_all_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    before = Passed(tmp_path / "checked")
    before.unless_before(["a", 1], lambda: asked.append("first"))
    before.unless_before(["a", 1], lambda: asked.append("again"))
    before.unless_before(["a", 2], lambda: asked.append("other facts"))
    monkeypatch.setattr(passed, "version", lambda name: "0.0")
    before.unless_before(["a", 1], lambda: asked.append("other libraries"))
    assert asked == ["first", "other facts", "other libraries"]


def test_what_failed_is_checked_again(tmp_path: Path) -> None:
    def fails() -> None:
        raise ModelError("damaged")

    for _ in range(2):
        with pytest.raises(ModelError):
            Passed(tmp_path).unless_before([], fails)


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Passed(tmp_path / "file" / "checked").unless_before([], lambda: None)


def test_models_are_opened_again_for_other_settings_and_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(checks, "_check_backbone", lambda settings: opened.append(f"erm {settings.image_size}"))
    monkeypatch.setattr(checks, "_open_part", lambda settings, name: opened.append(f"{name} {settings.threshold}"))
    before = Passed(tmp_path)

    def look(size: int, threshold: float) -> list[str]:
        tree = {
            "data": {"source": "pocket"},
            "erm": {"weights": "none", "image_size": size},
            "segment": {"weights": "pocket", "threshold": threshold},
            "inpaint": {"backend": "copy_paste"},
        }
        opened.clear()
        assert checks.model_faults(RunConfig.model_validate(tree), before) == []
        return list(opened)

    assert look(64, 0.4) == ["erm 64", "weights 0.4"]
    assert look(64, 0.4) == []
    assert look(32, 0.4) == ["erm 32"]
    assert look(32, 0.5) == ["weights 0.5"]
