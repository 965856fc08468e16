"""What the README and docs/ tell people to type exists: verbs, options, settings, make targets, names, links."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import ddb
from ddb.cli import app as cli
from ddb.cli.stage_verbs import STAGE_HELP
from ddb.config.load import preset_names, read_tree, tree_faults

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in a language."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(page.name, text) for page in PAGES for text in pattern.findall(page.read_text("utf-8"))]


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    for page, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == program:
                yield page, words[1:]


@pytest.mark.parametrize(("page", "words"), list(commands("ddb")), ids=str)
def test_ddb_commands_are_valid(page: str, words: list[str]) -> None:
    command = typer.main.get_command(cli.app)
    verb = words[0]
    inner = command.commands[verb]  # type: ignore[attr-defined]
    context = inner.make_context(verb, words[1:])
    values = context.params
    if "source" in values:
        assert values["source"] in preset_names()
        tree, faults, _ = read_tree(values["source"], values.get("overrides") or ())
        assert faults + tree_faults(tree) == []


def test_there_are_commands_to_check() -> None:
    assert len(list(commands("ddb"))) >= 5
    assert len(list(commands("make"))) >= 3


@pytest.mark.parametrize(("page", "words"), list(commands("make")), ids=str)
def test_make_targets_exist(page: str, words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets)


@pytest.mark.parametrize(("page", "text"), blocks("python"), ids=lambda value: value[:20])
def test_python_compiles_and_names_exist(page: str, text: str) -> None:
    tree = ast.parse(text)
    used = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ddb"
    ]
    for name in used:
        assert getattr(ddb, name) is not None, f"{page}: ddb.{name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ddb"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page: Path) -> None:
    """Of a section with several back ends, a setting of any of them."""
    from ddb.config import RunConfig
    from ddb.config.run import BACKENDS

    sections = {name: [field.annotation] for name, field in RunConfig.model_fields.items()}
    sections |= {name: list(kinds.values()) for name, kinds in BACKENDS.items()}
    known = {
        name: {key for kind in kinds for key in getattr(kind, "model_fields", ())} for name, kinds in sections.items()
    }
    for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)(?:`|[=:])", page.read_text("utf-8")):
        assert not known.get(section) or key in known[section], f"{page.name}: {section}.{key}"


def test_table_of_stages_is_the_programs() -> None:
    text = (ROOT / "README.md").read_text("utf-8").split("<!-- stages -->")[1].split("<!-- /stages -->")[0]
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", text, re.MULTILINE))
    assert rows == STAGE_HELP


def test_ci_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "```bash\nmake test\n```" in readme.split("## Tests")[1]
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_command_line_page_names_every_verb_and_option() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    command = typer.main.get_command(cli.app)
    for verb, inner in command.commands.items():  # type: ignore[attr-defined]
        for name in getattr(inner, "commands", {verb: inner}):
            assert f"ddb {verb}" in text if name == verb else f"ddb {verb} {name}" in text
        for parameter in getattr(inner, "params", []):
            assert all(option in text for option in parameter.opts if option.startswith("--") and option != "--help")


def test_pages_of_the_site_exist() -> None:
    named = re.findall(r": ([a-z-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))
