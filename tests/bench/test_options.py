from __future__ import annotations

from typing import Any

import pytest

from ddb.bench.options import METHODS, Asked, check_studies, options
from ddb.config import RunConfig
from ddb.errors import ConfigError
from ddb.rivals import RIVALS


def asked(**changes: Any) -> Any:
    values = {
        "methods": "all",
        "seeds": 3,
        "select": "worst_group",
        "search": "first",
        "tables": "1",
        "engine": "local",
    }
    return options(Asked(**{**values, **changes}, concepts=None))


def test_all_is_ddb_and_every_rival() -> None:
    found = asked()
    assert found.methods == METHODS == ("ddb", *RIVALS)
    assert not found.named
    assert asked(methods=" jtt, erm,jtt").methods == ("jtt", "erm")
    assert asked(methods="jtt").named
    assert (asked().processes, asked(engine="ray").processes, asked(engine="ray", processes=3).processes) == (1, 0, 3)
    assert asked(tables="all").tables == ("1", "2", "3", "counts", "labels")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": "jt"}, "no method 'jt'; did you mean jtt"),
        ({"methods": "xyz"}, "there are ddb, erm"),
        ({"methods": ","}, "at least one method"),
        ({"tables": "4"}, "no table '4'"),
        ({"seeds": 0}, "--seeds 0: at least one"),
        ({"processes": 0}, "--processes 0: at least one"),
        ({"select": "test"}, "--select test: choose worst_group or worst_class or counterfactual"),
        ({"search": "all"}, "--search all: choose first or every or off"),
        ({"engine": "slurm"}, "--engine slurm: choose local or ray"),
    ],
)
def test_wrong_names_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asked(**change)


def test_inversion_needs_a_generator_with_tokens() -> None:
    with pytest.raises(ConfigError, match="copy_paste learns none"):
        check_studies(RunConfig.model_validate({"inpaint": {"backend": "copy_paste"}}), ["1", "3"])
    check_studies(RunConfig(), ["3"])
