from __future__ import annotations

import pytest

from ddb.bench.fits.choice import best
from ddb.errors import StageFailed


def fit(*figures: float) -> dict[str, object]:
    return {"title": "X", "figures": list(figures), "error": "" if figures else "The loss is inf"}


def test_the_first_figure_decides_then_the_second_then_the_order() -> None:
    assert best([fit(0.5, 0.9), fit(0.6, 0.1), fit(0.6, 0.2), fit(0.6, 0.2)]) == 2


def test_a_failed_fit_is_not_chosen() -> None:
    assert best([fit(), fit(0.0, 0.1)]) == 1
    with pytest.raises(StageFailed, match="X: every setting failed. First: The loss is inf"):
        best([fit(), fit()])
