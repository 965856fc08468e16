"""The direction of imports, the length of files and their names, read from the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "ddb"
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = ("records", "errors", "tables")
MODELS = ("context", "data", "learn", "backends")
# What the files of a part of ddb may import from ddb: modules by their beginning.
ALLOWED = {
    "records": (),
    "errors": (),
    "tables": (),
    "config": ("config", "errors"),
    "pocket": (*BASE, "config", "pocket", "data"),
    "data": (*BASE, "config", "data", "pocket"),
    "context": ("data.table",),
    "stage": (*BASE, "context"),
    "models": (*BASE, "models"),
    "learn": (*BASE, "config", "data", "learn"),
    "backends": (*BASE, "config", "context", "data", "learn", "backends", "models", "pocket.models"),
    "stages": (*BASE, *MODELS, "stage", "config", "stages"),
    "rivals": (*BASE, "config", "data", "learn", "backends.classifiers", "rivals"),
    "engine": (*BASE, "stage", "engine"),
    "report": (*BASE, "report", "engine", "data"),
    "preflight": (*BASE, *MODELS, "config", "pocket", "models"),
    "doctor": (*BASE, *MODELS, "config", "models"),
    "environment": ("learn.device",),
    "refill": (*BASE, "stage", "config", "data", "learn", "stages", "engine.workspace"),
    "crew": (*BASE, "stage", "engine", "learn.processes"),
    "cluster": (*BASE, "stage", "config", "crew", "engine", "learn.processes"),
    "run_folder": (*BASE, "config", "data", "engine", "environment", "preflight", "report"),
    "method": (*BASE, *MODELS, "stage", "config", "engine.workspace", "refill", "stages"),
    "pipeline": (*BASE, *MODELS, "stage", "cluster", "config", "crew", "engine", "method", "run_folder"),
    "discovery": (*BASE, *MODELS, "config", "discovery", "engine.files", "report", "run_folder"),
    "auditing": (*BASE, *MODELS, "auditing", "config", "engine", "report", "run_folder"),
    "segment_preview": (*BASE, *MODELS, "config", "engine", "report.contact_sheet", "stages"),
    "export": (*BASE, "engine", "models.roles", "report", "run_folder"),
    "result": (*BASE, "config", "engine", "pipeline", "report"),
    "bench": (
        *BASE, "stage", "context", "bench", "backends.classifiers", "config", "data", "discovery", "engine", "learn",
        "pipeline",
        "pocket", "report", "rivals", "stages",
    ),
    "cli": (
        *BASE, "auditing", "bench", "cli", "config", "data", "discovery", "doctor", "engine", "export", "models",
        "pocket", "preflight", "pipeline", "report", "run_folder", "segment_preview",
    ),
}  # fmt: skip
MODEL_LIBRARIES = {"timm", "diffusers", "transformers"}
# What ddb imports under another name than the distribution's.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in the file. `from a import b` counts as a.b where b is a module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = ROOT / "src" / Path(*module.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield f"{module}.{alias.name}" if is_module else module


def own_imports(path: Path) -> Iterator[str]:
    yield from (name.removeprefix("ddb.") for name in imports(path) if name.startswith("ddb."))


def within(name: str, beginnings: tuple[str, ...]) -> bool:
    return any(name == beginning or name.startswith(f"{beginning}.") for beginning in beginnings)


@pytest.mark.parametrize("path", [f for f in FILES if f.parent != PACKAGE or f.name != "__init__.py"], ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    wrong = [name for name in own_imports(path) if not within(name, ALLOWED[part(path)])]
    assert not wrong, f"{relative(path)} may not import {wrong}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").rglob("*.py")), ids=relative)
def test_stages_do_not_import_each_other(path: Path) -> None:
    """`slots.py` is no stage: all of them use it. A stage in a folder imports its own worker."""
    own = ("stages.slots", f"stages.{path.parent.name}")
    assert not [name for name in own_imports(path) if name.startswith("stages") and not within(name, own)]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_one_model_library_a_file_and_only_in_backends(path: Path) -> None:
    used = {name.partition(".")[0] for name in imports(path)} & MODEL_LIBRARIES
    if "diffusion" in path.parts:  # a diffusion model's text encoder is transformers'
        used -= {"transformers"}
    assert len(used) <= (1 if part(path) == "backends" else 0), f"{relative(path)} imports {used}"


def test_ray_is_imported_by_those_who_ask_for_it() -> None:
    """The modules that import it at their top are imported by functions that were told to use it."""
    users = {relative(path) for path in FILES if "ray" in imports(path)}
    assert users == {"bench/team/actors.py", "engine/cluster/connection.py", "engine/cluster/ray_pool.py"}
    code = "import sys, ddb.pipeline, ddb.cli.app; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def test_engine_and_report_know_no_models() -> None:
    for path in FILES:
        if part(path) in ("engine", "report"):
            used = {name.partition(".")[0] for name in imports(path)}
            assert not used & (MODEL_LIBRARIES | {"torch"}), relative(path)


def test_no_import_cycles() -> None:
    graph = {f"{relative(path).removesuffix('.py').replace('/', '.')}": set(own_imports(path)) for path in FILES}
    graph = {name.removesuffix(".__init__"): targets for name, targets in graph.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name in done:
            return
        for target in graph.get(name, set()) - {name}:
            visit(target, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_are_short_and_named_for_what_they_hold(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300
    assert not {"utils", "util", "helpers", "common", "misc"} & set(path.stem.split("_"))


def test_functions_fit_a_screen() -> None:
    long = [
        f"{relative(path)}:{node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert not long


def test_functions_have_at_most_six_parameters() -> None:
    """Apart from the verbs of the command line, whose parameters are its options, and the functions that take the place
    of one of another library."""
    exempt = {"learn/training/parallel.py:_batch_norm"}
    wide = [
        f"{relative(path)}:{node.name}"
        for path in FILES
        if part(path) != "cli"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _parameters(node.args) > 6
    ]
    assert set(wide) <= exempt


def _parameters(arguments: ast.arguments) -> int:
    named = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")])


def test_every_module_says_what_it_is() -> None:
    silent = [
        relative(p)
        for p in FILES
        if p.read_text("utf-8").strip() and not ast.get_docstring(ast.parse(p.read_text("utf-8")))
    ]
    assert not silent


def test_libraries_that_are_imported_are_the_declared_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for name in ("ray", "onnx") for line in project["optional-dependencies"][name]]
    declared = {line.partition(">")[0] for line in (*project["dependencies"], *extras)}
    used = {name.partition(".")[0] for path in FILES for name in imports(path)} - {"ddb"} - set(sys.stdlib_module_names)
    used = {DISTRIBUTIONS.get(name, name) for name in used}
    assert not used - declared, "imported, but not declared in pyproject.toml"
    assert declared - used <= {"torchvision", "datasets"}, "declared, but not imported"  # see the notes there


def test_nothing_is_unpickled() -> None:
    """`torch.load` only with weights_only=True; no pickle, joblib or numpy pickles. One file imports pickle: it reads
    MetaShift's published imageID_to_group.pkl with an Unpickler that resolves no name but set, frozenset and dict."""
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        unpicklers = {"pickle", "joblib", "dill", "marshal"} & {name.partition(".")[0] for name in imports(path)}
        assert unpicklers <= ({"pickle"} if relative(path) == "data/sources/restricted_unpickler.py" else set()), (
            relative(path)
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert called != "torch.load" or keywords.get("weights_only") == "True", relative(path)
                assert keywords.get("allow_pickle") != "True", relative(path)
