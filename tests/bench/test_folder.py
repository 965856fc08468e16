from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddb.bench.folder import Folder, Key, fingerprint
from ddb.errors import DDBError

SHARED = {"config": {"erm": {"lr": 0.1, "augment": {"scale": (0.8, 1.0)}}}, "select": "worst_group"}


def test_a_folder_is_gone_on_with(tmp_path: Path) -> None:
    Folder(tmp_path).claim(SHARED)
    before = (tmp_path / "bench.json").read_bytes()
    Folder(tmp_path).claim(SHARED)
    assert (tmp_path / "bench.json").read_bytes() == before


@pytest.mark.parametrize(("key", "value"), [("ddb", "0.0.9"), ("format", 0)])
def test_another_version_is_refused(key: str, value: object, tmp_path: Path) -> None:
    Folder(tmp_path).claim(SHARED)
    header = json.loads((tmp_path / "bench.json").read_text()) | {key: value}
    (tmp_path / "bench.json").write_text(json.dumps(header))
    with pytest.raises(DDBError, match=r"made by ddb .* must not be mixed.*another --out"):
        Folder(tmp_path).claim(SHARED)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    Folder(tmp_path).claim(SHARED)
    with pytest.raises(
        DDBError, match=r"config\.erm\.lr: 0\.1 there, 0\.2 now; select: worst_group there, worst_class"
    ):
        Folder(tmp_path).claim({"config": {"erm": {**SHARED["config"]["erm"], "lr": 0.2}}, "select": "worst_class"})


def test_results_without_a_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(DDBError, match=r"bench\.json is missing"):
        Folder(tmp_path).claim(SHARED)


def test_records_of_another_fingerprint_are_not_found(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    one, two = (Key("fits", 0, "jtt", fingerprint({"lr": lr})) for lr in (0.1, 0.2))
    assert folder.read(one) is None
    assert folder.write(one, {"figures": [0.5]}) == {"figures": [0.5], "fingerprint": one.fingerprint}
    assert folder.read(one) == {"figures": [0.5], "fingerprint": one.fingerprint}
    assert folder.read(two) is None
