from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import ddb
from ddb.backends.segmenters.weights import KINDS
from ddb.config import RunConfig
from ddb.config.load import config_text, load_config, preset_names, read_tree, tree_faults
from ddb.errors import ConfigError
from ddb.models.roles import ROLES

POCKET = ("pocket-waterbirds", "pocket-metashift", "pocket-celeba", "pocket-urban")


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_bears_its_own_name(name: str) -> None:
    assert load_config(name).name == name


def test_the_presets_ship() -> None:
    assert {"photos", "waterbirds", "celeba", "metashift", *POCKET} <= set(preset_names())


def test_presets_of_the_paper_keep_to_its_figures() -> None:
    """The seed's pruning table, its ablation, and V1 weights; every line says where it comes from."""
    budgets = {"waterbirds": (1300, 1112), "celeba": (120000, 0), "metashift": (0, 400)}
    for name, budget in budgets.items():
        config = load_config(name)
        assert config.inpaint.per_class == budget
        assert (config.erm.backbone, config.erm.weights, config.erm.image_size) == ("resnet50.tv_in1k", "resnet50", 224)
        assert (config.inpaint.weights, config.inpaint.image_size) == ("sd2-inpainting", 512)
        assert (config.invert.representatives, config.segment.backend) == (30, "grounded_sam")
        assert (config.segment.box_threshold, config.segment.text_threshold) == (0.3, 0.25)
        assert config.erm.selection == config.retrain.selection == "worst_group"
        text = (Path(ddb.__file__).parent / "config" / "presets" / f"{name}.yaml").read_text()
        values = [line for line in text.splitlines() if re.match(r"\s+\w+: \S", line)]
        assert all("#" in line for line in values if "backend: latent_diffusion" not in line)


def test_presets_name_roles_that_exist() -> None:
    for name in preset_names():
        config = load_config(name)
        parts = [getattr(config.segment, part) for part in KINDS[config.segment.backend]]
        for weights in (config.erm.weights, config.inpaint.weights, *parts):
            assert weights == "pocket" or weights in ROLES, (name, weights)


@pytest.mark.parametrize("name", POCKET)
def test_pocket_presets_need_no_download(name: str) -> None:
    config = load_config(name)
    assert (config.erm.weights, config.segment.weights, config.inpaint.weights) == ("pocket", "pocket", "pocket")


def test_photos_preset_needs_no_group_labels() -> None:
    config = load_config("photos")
    assert "worst_group" not in (config.erm.selection, config.retrain.selection)


def test_order_is_preset_then_flags_then_set(tmp_path: Path) -> None:
    config = load_config("photos", ["seed=5", "inpaint.steps=3"], data=tmp_path, seed=4, device="cpu")
    assert (config.seed, config.device, config.inpaint.steps) == (5, "cpu", 3)
    assert config.data.root == str(tmp_path) and config.data.source == "folder"


def test_data_file_is_read_as_a_table(tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text("path,label\n")
    assert load_config("photos", data=table).data.source == "table"


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        inpaint: {guidence: 5, steps: 0}
        erm: {lr: -1, augment: {scale: [0.9, 0.5]}}
        segment: {backend: given}
        evaluate: {in_distribution: 10}
        """,
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["score.output=logits", "guidance=3", "seed"])
    text = str(caught.value)
    for part in (
        "inpaint.guidence: unknown key; did you mean inpaint.guidance?",
        "inpaint.steps: should be greater than or equal to 1, got 0",
        "erm.lr: should be greater than 0, got -1",
        "erm.augment.scale: should be two rising shares",
        "segment.masks: has no value, and backend given needs one",
        "evaluate.in_distribution: only data.source",
        "score.output: should be 'logit' or 'probability', got 'logits'",
        "guidance: unknown key; did you mean inpaint.guidance?",
        "--set 'seed'",
    ):
        assert part in text
    assert "9 settings are wrong" in text
    assert len(text.splitlines()) == 10


def test_unknown_preset_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean photos"):
        load_config("photo")
    with pytest.raises(ConfigError, match="presets are celeba, metashift, photos, pocket-"):
        load_config("zzz")


def test_folder_in_place_of_a_preset_says_where_it_goes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("erm: [1, 2", "line 1: not valid YAML"),
        ("erm: {lr: 1}\nerm: {lr: 2}", "line 2: not valid YAML: erm is given twice"),
        ("- a\n- b", "key: value"),
        ("just words", "key: value"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_broken_yaml_names_the_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(path)


def test_plain_yaml_words_and_numbers_mean_what_they_look_like() -> None:
    config = load_config(
        "photos", ["prune.psi=off", "erm.lr=1e-3", "data.classes=[007, yes]", "inpaint.template='{token} {phrase}'"]
    )
    assert config.prune.psi == "off" and config.erm.lr == 1e-3
    assert config.data.classes == ("007", "yes") and config.inpaint.template == "{token} {phrase}"


def test_empty_value_is_the_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "erm:\nsegment:\n  threshold:\n"), ["inpaint.steps="])
    assert config == RunConfig()


def test_list_written_without_brackets_says_how() -> None:
    with pytest.raises(ConfigError, match=r"data.classes: should be a list, written \[a, b\]"):
        load_config("photos", ["data.classes=tench,church"])


@pytest.mark.parametrize(("text", "value"), [("40", 40), ("[1300, 0]", (1300, 0)), ("", None)])
def test_budgets_are_a_number_or_one_for_each_class(text: str, value: object) -> None:
    assert load_config("photos", [f"inpaint.per_class={text}"]).inpaint.per_class == value


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "[]", "[1, -1]", "[1, many]", "true"])
def test_a_wrong_budget_is_one_fault(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^photos: inpaint\.per_class: should be a number above 0, or a list"):
        load_config("photos", [f"inpaint.per_class={text}"])


def test_new_objects_need_a_segmenter_that_finds_them() -> None:
    with pytest.raises(ConfigError, match=r'inpaint\.paste: "objects" looks for the new object'):
        load_config("pocket-metashift", ["segment.backend=given", "segment.masks=masks", "inpaint.paste=objects"])
    load_config("pocket-metashift", ["segment.backend=given", "segment.masks=masks", "inpaint.paste=region"])


@pytest.mark.parametrize("value", [".nan", "nan", "1e999"])
def test_numbers_must_be_finite(value: str) -> None:
    with pytest.raises(ConfigError, match="prune.rho_threshold"):
        load_config("photos", [f"prune.rho_threshold={value}"])


def test_value_on_a_section_and_key_below_a_value() -> None:
    tree, faults, notes = read_tree("photos", ["erm=3", "seed.x=1", "segment=4"])
    assert faults == notes == []
    lines = tree_faults(tree)
    assert [line.partition(":")[0] for line in lines] == ["seed", "erm", "segment"]
    assert lines[2] == "segment: should hold settings, written segment.key=value, got 4"


@pytest.mark.parametrize("name", preset_names())
def test_shown_configuration_is_the_configuration(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    assert load_config(write(tmp_path, config_text(config))) == config


def test_dumped_configuration_is_read_back(tmp_path: Path) -> None:
    config = load_config("photos", ["prune.psi=off", "data.classes=['007', 'true']"])
    assert load_config(write(tmp_path, yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_schema_is_json() -> None:
    schema = json.loads(json.dumps(RunConfig.model_json_schema()))
    assert schema["additionalProperties"] is False and "inpaint" in schema["properties"]


def test_configuration_cannot_be_changed_in_place() -> None:
    config = RunConfig()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_a_file_as_data_is_a_table_unless_the_source_reads_files(tmp_path: Path) -> None:
    (tmp_path / "metadata_x.csv").write_text("filename,y,a,split\n")
    assert load_config("photos", data=tmp_path / "metadata_x.csv").data.source == "table"
    (tmp_path / "own.yaml").write_text("data: {source: subpopbench}\n")
    assert load_config(tmp_path / "own.yaml", data=tmp_path / "metadata_x.csv").data.source == "subpopbench"
