"""`Models`: one load per name, and a dropped model leaves no memory."""

from __future__ import annotations

import sys
import weakref
from types import SimpleNamespace

import pytest

from ddb.context import Models


class Model:
    """Refers to itself, as modules with hooks do: reference counts alone never free it."""

    def __init__(self) -> None:
        self.itself = self


def test_a_model_is_loaded_once_a_name() -> None:
    models, calls = Models(), []

    def load() -> Model:
        calls.append(1)
        return Model()

    first = models.open("a", load)
    assert models.open("a", load) is first
    assert models.open("b", load) is not first
    assert len(calls) == 2


def test_none_is_a_model_too() -> None:
    models, calls = Models(), []
    for _ in range(2):
        assert models.open("a", lambda: calls.append(1)) is None
    assert calls == [1]


def test_a_failed_load_is_tried_again() -> None:
    models = Models()

    def fails() -> Model:
        raise OSError("no such folder")

    with pytest.raises(OSError, match="no such folder"):
        models.open("a", fails)
    assert isinstance(models.open("a", Model), Model)


def test_keep_lets_go_of_all_others() -> None:
    models = Models()
    gone, stays = weakref.ref(models.open("a", Model)), weakref.ref(models.open("b", Model))
    models.keep(["b", "never opened"])
    assert gone() is None
    assert stays() is not None and models.open("b", Model) is stays()


def test_two_runs_share_nothing() -> None:
    assert Models().open("a", Model) is not Models().open("a", Model)


@pytest.mark.parametrize(("initialized", "emptied"), [(True, 1), (False, 0)])
def test_keep_empties_the_cuda_cache_where_cuda_is_in_use(
    monkeypatch: pytest.MonkeyPatch, initialized: bool, emptied: int
) -> None:
    calls: list[int] = []
    cuda = SimpleNamespace(is_initialized=lambda: initialized, empty_cache=lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    models = Models()
    models.open("a", Model)
    models.keep(["a"])
    assert calls == []
    models.keep([])
    assert len(calls) == emptied


def test_keep_works_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    models = Models()
    models.open("a", Model)
    models.keep([])
