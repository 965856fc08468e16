"""groups.csv: what enters a data set as the second column of groups, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddb.config import DataConfig, PocketConfig
from ddb.data.discovered import Assigned, groups_csv
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.pocket.datasets import write_pocket


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pocket(tmp_path_factory.mktemp("birds") / "birds", PocketConfig(train=40, val=12, test=12))


def load(birds: Path, groups: str = "") -> Dataset:
    return load_dataset(DataConfig(source="waterbirds", root=str(birds), groups=groups))


def written(dataset: Dataset, path: Path, names: tuple[str, ...] = ("lake", "forest")) -> str:
    images = dataset.samples["image"].to_pylist()
    rows = [Assigned(image, names[number % len(names)], 0.5) for number, image in enumerate(images)]
    path.write_text(groups_csv(dataset, rows), encoding="utf-8")
    return str(path)


def test_groups_become_a_column_beside_the_attribute(birds: Path, tmp_path: Path) -> None:
    plain = load(birds)
    found = load(birds, written(plain, tmp_path / "groups.csv"))
    assert found.discovered == ("forest", "lake")
    assert found.samples["discovered"].to_pylist()[:4] == [1, 0, 1, 0]
    assert found.samples["attribute"].equals(plain.samples["attribute"])
    assert plain.discovered == ()
    assert plain.samples["discovered"].null_count == len(plain.samples)


def test_fingerprints_know_the_groups_and_stages_without_groups_do_not(birds: Path, tmp_path: Path) -> None:
    plain = load(birds)
    one = load(birds, written(plain, tmp_path / "one.csv"))
    other = load(birds, written(plain, tmp_path / "other.csv", ("sofa", "bed", "tree")))
    assert len({plain.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert plain.identity(["train"]) == one.identity(["train"])  # masks and pictures do not depend on groups
    blind = [data.without_attributes() for data in (plain, one, other)]
    assert len({data.fingerprint for data in blind}) == 1
    for data in blind:
        assert data.attributes == data.discovered == ()
        assert data.samples["attribute"].null_count == data.samples["discovered"].null_count == len(data.samples)


def test_discovered_groups_can_take_the_place_of_attributes(birds: Path, tmp_path: Path) -> None:
    found = load(birds, written(load(birds), tmp_path / "groups.csv")).with_discovered_as_attributes()
    assert found.attributes == ("forest", "lake")
    assert found.samples["attribute"].equals(found.samples["discovered"])


def test_groups_of_another_data_set_are_refused(birds: Path, tmp_path: Path) -> None:
    other = write_pocket(tmp_path / "other", PocketConfig(train=40, val=12, test=12, seed=1))
    file = written(load(other), tmp_path / "groups.csv")
    with pytest.raises(DataError, match="was made for other images .* Run `ddb discover` on this data"):
        load(birds, file)


def test_a_file_by_hand_is_taken_by_its_paths(birds: Path, tmp_path: Path) -> None:
    image = load(birds).samples["image"][0].as_py()
    file = tmp_path / "mine.csv"
    file.write_text(f"image,name\n{image},snow\n", encoding="utf-8")
    found = load(birds, str(file))
    assert found.samples["discovered"].null_count == len(found.samples) - 1
    assert any("have no discovered group" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,name\nnowhere.png,snow\n", "row 2: there is no image 'nowhere.png'"),
        ("image,name\n", "holds no row"),
        ("path,group\na,b\n", "needs the columns image and name"),
        ("", "needs the columns image and name"),
    ],
)
def test_faults_of_a_file_are_said(birds: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(birds, str(tmp_path / "groups.csv"))


def test_missing_and_foreign_files_are_said(birds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load(birds, str(tmp_path / "nowhere.csv"))
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text file"):
        load(birds, str(tmp_path / "picture.csv"))


def test_many_names_are_another_column(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(load(birds), tmp_path / "groups.csv", ("a", "b", "c"))
    monkeypatch.setattr("ddb.data.discovered.MOST", 3)
    assert load(birds, file).discovered == ("a", "b", "c")
    monkeypatch.setattr("ddb.data.discovered.MOST", 2)
    with pytest.raises(DataError, match="names 3 groups"):
        load(birds, file)
