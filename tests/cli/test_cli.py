from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image

from ddb.cli import app as cli
from ddb.cli.stage_verbs import STAGE_HELP
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.errors import Interrupted, StageFailed

PYTHON = [sys.executable, "-c", "from ddb.cli import main; main()"]
RUN = {"source", "--data", "--set", "--out", "--device", "--seed"}
RAY = {"--engine", "--workers"}
MODEL = {
    "model", "--data", "--preset", "--set", "--out", "--device", "--seed", "--classes", "--class-map", "--backbone",
    "--size", "--crop", "--mean", "--std", "--layout", "--outputs",
}  # fmt: skip
STAGES = ["erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate"]

# The command line as people script it. A change here is a change for them: say so in the changelog.
SURFACE = {
    "run": RUN | RAY | {"--dry-run", "--discover"},
    **dict.fromkeys(STAGES, RUN | RAY),
    **dict.fromkeys(("erm", "prune", "retrain"), RUN),
    "segment": RUN | RAY | {"--preview"},
    "bench": RUN - {"--seed"}
    | {"--methods", "--seeds", "--select", "--search", "--tables", "--engine", "--concepts", "--processes", "--groups"},
    "discover": {"data", "--model", "--preset", "--set", "--out", "--device", "--seed"},
    "audit": MODEL | {"--run", "--split", "--images", "--junit", "--fail-under"},
    "explain": MODEL | {"images"},
    "check": {"source", "--data", "--set", "--device"},
    "doctor": {"source", "--data", "--set", "--device"},
    "models list": set(),
    "models pull": {"names"},
    "models verify": {"names"},
    "models where": {"name"},
    "status": {"run_folder", "--json"},
    "clean": {"run_folder", "--yes"},
    "export": {"run_folder", "folder"},
    "report": {"run_folder"},
    "config show": {"source", "--data", "--set"},
    "config schema": set(),
    "pocket write": {"folder", "--set"},
    "data inspect": {"folder", "--source", "--target", "--attribute", "--json"},
}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; the exit code."""
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_surface_is_frozen() -> None:
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        inner = getattr(command, "commands", None)
        if inner:
            for key, value in inner.items():
                walk(value, f"{name} {key}".strip())
        else:
            parameters = command.params  # type: ignore[attr-defined]
            found[name] = {p.opts[0] if p.opts[0].startswith("-") else p.name for p in parameters} - {"--help"}

    walk(typer.main.get_command(cli.app), "")
    assert found == SURFACE


def test_stage_verbs_are_the_stages_in_order() -> None:
    from ddb import pipeline

    assert list(STAGE_HELP) == STAGES
    assert [getattr(stage, "name", stage) for stage in pipeline.STAGES] == STAGES


@pytest.mark.parametrize(
    "verb", [[], *([name.split()[0]] for name in SURFACE), ["config", "show"], ["pocket", "write"]]
)
def test_every_verb_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    assert call(monkeypatch, *verb, "--help") == 0
    assert "Usage: " in capsys.readouterr().out


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"ddb {version('diffusion-driven-balancing')}\n"


def test_overview_is_not_cut_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, "--help") == 0
    overview = capsys.readouterr().out.split("Commands:")[1]
    assert "..." not in overview
    assert all(text in overview for text in STAGE_HELP.values())


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ddb.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'pyarrow', 'pydantic', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PYTHON, "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, not the clock's: the machine may be busy with other tests.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_importing_ddb_imports_no_torch() -> None:
    code = "import sys, ddb; print('torch' in sys.modules, 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


def test_config_show_prints_what_can_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "config", "show", "photos", "--set", "erm.epochs=3") == 0
    path = tmp_path / "mine.yaml"
    path.write_text(capsys.readouterr().out)
    assert load_config(path) == load_config("photos", ["erm.epochs=3"])


def test_config_schema_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "config", "schema") == 0
    assert json.loads(capsys.readouterr().out) == RunConfig.model_json_schema()


def test_run_passes_config_and_folder_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ddb import pipeline

    seen: list[tuple[RunConfig, Path | None, str | None]] = []

    def run(config: RunConfig, out: Path | None, *, only: str | None = None, engine: str = "local") -> None:
        assert engine == "local"
        seen.append((config, out, only))

    monkeypatch.setattr(pipeline, "run", run)
    common = ["photos", "--data", str(tmp_path), "--seed", "7", "--device", "cpu", "--set", "erm.epochs=2"]
    assert call(monkeypatch, "run", *common) == 0
    assert call(monkeypatch, "score", *common, "--out", str(tmp_path / "run")) == 0
    config = load_config("photos", ["erm.epochs=2"], data=tmp_path, seed=7, device="cpu")
    assert seen == [(config, Path("runs") / f"photos-{tmp_path.name}", None), (config, tmp_path / "run", "score")]


def test_dry_run_prints_what_a_run_would_do_and_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from ddb import pipeline

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "run", lambda *_, **__: pytest.fail("nothing is to be run"))
    assert call(monkeypatch, "run", "photos", "--data", "pets", "--dry-run") == 0
    assert capsys.readouterr().out == "runs/photos-pets: a new run; all stages are to be computed\n"
    assert list(tmp_path.iterdir()) == []


def test_clean_says_what_it_would_remove_and_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One stage with the result of present settings and one of others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for result, count in (("present", 2), ("other", 3)):
        folder = tmp_path / "run" / "1-erm" / result
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text("{}")
        rows = {"id": [str(n) for n in range(count)], "status": ["ok"] * count}
        pq.write_table(pa.table(rows), folder / "part-00000.parquet")
    current = {"stages": ["erm"], "results": {"erm": {"fingerprint": "present", "key": "k"}}}
    (tmp_path / "run" / "current.json").write_text(json.dumps(current))
    home = tmp_path / "run" / "1-erm"
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert call(monkeypatch, "clean", str(tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert said.startswith("1-erm/other: 3 rows, 0.0 MB\n0.0 MB are not used\nRemove them?")
    assert sorted(path.name for path in home.iterdir()) == ["other", "present"]
    assert call(monkeypatch, "clean", str(tmp_path / "run"), "--yes") == 0
    assert capsys.readouterr().out.endswith("removed\n")
    assert [path.name for path in home.iterdir()] == ["present"]
    assert call(monkeypatch, "clean", str(tmp_path / "run")) == 0
    assert capsys.readouterr().out == "nothing is unused\n"
    assert call(monkeypatch, "clean", str(tmp_path / "nowhere")) == 1
    assert "not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(StageFailed("stage erm: loss is nan"), 1), (Interrupted("stopped", exit_code=143), 143)]
)
def test_errors_are_a_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    from ddb import pipeline

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    assert call(monkeypatch, "run", "pocket-waterbirds") == code
    captured = capsys.readouterr()
    assert captured.err == f"ddb: {error}\n"
    assert captured.out == ""


def test_missing_argument_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "run") == 2
    assert "PRESET|FILE" in capsys.readouterr().err


def test_pocket_write_draws_the_waterbirds_layout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes = ["--set", "data.pocket.train=40", "--set", "data.pocket.val=8", "--set", "data.pocket.test=8"]
    assert call(monkeypatch, "pocket", "write", str(tmp_path / "birds"), *sizes) == 0
    header, *rows = (tmp_path / "birds" / "metadata.csv").read_text().splitlines()
    assert {"img_filename", "y", "split", "place"} <= set(header.split(","))
    assert len(rows) == 56
    assert str(tmp_path / "birds") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("world", "lists"),
    [
        ("metashift", "imageID_to_group.json"),
        ("celeba", "list_attr_celeba.csv"),
        ("urban", "bg-0.95_co_occur_obj-0.95"),
    ],
)
def test_pocket_write_draws_the_other_worlds_and_inspect_recognises_them(
    world: str, lists: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sizes = ["--set", "data.pocket.train=40", "--set", "data.pocket.val=8", "--set", "data.pocket.test=8"]
    assert (
        call(monkeypatch, "pocket", "write", str(tmp_path / world), *sizes, "--set", f"data.pocket.world={world}") == 0
    )
    assert (tmp_path / world / lists).exists()
    assert call(monkeypatch, "data", "inspect", str(tmp_path / world)) == 0
    assert f"layout      {'urbancars' if world == 'urban' else world}: " in capsys.readouterr().out


def test_console_script_is_declared() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"ddb": "ddb.cli:main"}
    assert project["name"] == "diffusion-driven-balancing"


def test_settings_file_of_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    block = text.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "mine.yaml"
    path.write_text(block)
    assert load_config(path).name == yaml.safe_load(block)["name"]


def test_data_inspect_for_people_and_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for shade in range(4):
            Image.new("RGB", (6, 5), (shade, len(name), ord(name[0]))).save(tmp_path / "pets" / name / f"{shade}.png")
    assert call(monkeypatch, "data", "inspect", str(tmp_path / "pets")) == 0
    out = capsys.readouterr()
    assert "layout      folder: 2 folders of images, cat, dog" in out.out and "reading 8 images" in out.err
    assert call(monkeypatch, "data", "inspect", str(tmp_path / "pets"), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["source"] == "folder" and [count["images"] for count in facts["counts"]] == [4, 4]
    assert call(monkeypatch, "data", "inspect", str(tmp_path / "gone")) == 1
    assert "gone does not exist" in capsys.readouterr().err
    assert call(monkeypatch, "data", "inspect", str(tmp_path / "pets"), "--source", "flickr") == 1
    assert "data: source: should be 'pocket'" in capsys.readouterr().err


def test_check_names_tokens_that_belong_to_no_class(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    for shade, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (32, 32), (40 * number, 100 * shade, number)).save(root / name / f"{number}.png")
    told = ["--data", str(root), "--set", "invert.tokens.cow=cow.safetensors"]
    assert call(monkeypatch, "check", "photos", *told) == 1
    assert "no class is called 'cow' (classes: cat, dog)" in capsys.readouterr().err


def test_check_tells_groups_published_counts_and_missing_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    lines = ["img_filename,y,split,place"]
    for number in range(32):
        y, place, split = number % 2, number // 2 % 2, (0, 0, 1, 2)[number // 4 % 4]
        lines.append(f"{number}.png,{y},{split},{place}")
        if number >= 7:
            Image.new("RGB", (6, 5), (number, 0, 0)).save(tmp_path / f"{number}.png")
            (tmp_path / "masks").mkdir(exist_ok=True)
            Image.new("L", (6, 5), 255).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    settings = (
        "erm.weights=none",
        "segment.backend=given",
        f"segment.masks={tmp_path / 'masks'}",
        "inpaint.backend=copy_paste",
    )
    arguments = [word for setting in settings for word in ("--set", setting)]
    assert call(monkeypatch, "check", "waterbirds", "--data", str(tmp_path), *arguments) == 0
    told = capsys.readouterr().out
    assert "train: 9 images (landbird/land 2, landbird/water 2, waterbird/land 2, waterbird/water 3)" in told
    assert "warning: group counts differ from the published ones of Waterbirds: train 4/4/4/4 instead of 3498/" in told
    assert "7 of the listed images are missing: 0.png (line 2), 1.png (line 3), 2.png (line 4)" in told
    assert "4.png (line 6) and 2 more" in told


def test_discover_prints_what_was_found_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data and the masks are the built-in world's: `pocket` stands in the place of a folder."""
    monkeypatch.chdir(tmp_path)
    sizes = [f"data.pocket.{name}={count}" for name, count in (("train", 60), ("val", 12), ("test", 8))]
    asked = (
        "discover",
        "pocket",
        "--preset",
        "pocket-waterbirds",
        *(word for size in sizes for word in ("--set", size)),
    )
    assert call(monkeypatch, *asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("A shortcut in the surroundings: ")
    assert all(place in lines[0] for place in ("forest", "lake"))
    assert lines[-2:] == ["runs/discover-pocket-waterbirds/discover.html", "runs/discover-pocket-waterbirds/groups.csv"]
    assert all(Path(line).is_file() for line in lines[-2:])
