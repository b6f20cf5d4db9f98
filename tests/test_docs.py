"""What the pages say of settings, commands and files is so."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import SecretStr

from backend.cli import app
from backend.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = ["CHANGELOG.md", "README.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
PAGES += sorted(f"benchmarks/{p.name}" for p in ROOT.glob("benchmarks/*.md"))

# Set by whoever runs benchmarks and tests, not read by the service.
_OF_TESTS = {"MASKLOOP_DATA"}

each_page = pytest.mark.parametrize("page", PAGES)


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _documented() -> dict[str, str]:
    """Each setting in the table of the page on the service, with the default that it gives."""
    found: dict[str, str] = {}
    for line in _text("docs/service.md").partition("## Settings")[2].splitlines():
        if line.startswith("| `"):
            names, defaults, *_ = line.strip("| ").replace("`", "").split(" | ")
            settings, values = names.split(", "), defaults.split(", ")
            each = values * len(settings) if len(values) == 1 else values
            found.update(zip(settings, each, strict=True))
    return found


def _in_words(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, int | float):
        return f"{default:g}"
    return str(default or "–")


def _names() -> dict[str, list[str]]:
    """The names of each setting in the environment, by field."""
    return {name: field.validation_alias.choices for name, field in Settings.model_fields.items()}


def test_the_page_on_the_service_has_each_setting_with_its_default() -> None:
    defaults = {
        _names()[name][0]: _in_words(field.default) for name, field in Settings.model_fields.items()
    }
    where = "SQLite in MODEL_DIR"
    defaults |= {"MASKLOOP_DATABASE_URL": where, "MASKLOOP_QUEUE_URL": where}
    assert _documented() == defaults


@each_page
def test_no_setting_is_named_that_there_is_not(page: str) -> None:
    known = {name for names in _names().values() for name in names} | _OF_TESTS
    assert {*re.findall(r"\bMASKLOOP_[A-Z_]+\b", _text(page))} <= known


@lru_cache(maxsize=1)
def _commands() -> dict[str, set[str]]:
    """The options of each command."""
    group: Any = typer.main.get_command(app)
    return {
        name: {"--help"}.union(*([*p.opts, *p.secondary_opts] for p in command.params))
        for name, command in group.commands.items()
    }


@each_page
def test_commands_are_called_as_they_can_be(page: str) -> None:
    for called in re.findall(r"\bmaskloop ((?:[a-z]+)(?: [^`\n#|]*)?)", _code(_text(page))):
        name, *rest = called.split()
        assert name in _commands(), called
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= _commands()[name], called


def _code(text: str) -> str:
    """What stands in backticks or blocks of code, a line each."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))


@each_page
def test_files_and_modules_that_are_named_exist(page: str) -> None:
    folders = ("backend", "benchmarks", "docker", "docs", "model", "selection", "tests")
    there = [f"/{p.relative_to(ROOT).as_posix()}" for f in folders for p in (ROOT / f).rglob("*.*")]
    code = _code(_text(page))
    for name in re.findall(r"`([a-z_/]+\.(?:py|md|json|ya?ml|svg|png))`", code):
        assert any(path.endswith(f"/{name}") for path in there), name
    for module in re.findall(r"python -m ((?:benchmarks|model)[a-z_.]*)", code):
        assert f"/{module.replace('.', '/')}.py" in there, module


@each_page
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in {_anchor(line) for line in file.read_text().splitlines()}, target


def _anchor(line: str) -> str:
    """What GitHub makes of a heading."""
    title = re.sub(r"^#+ |`", "", line).lower() if line.startswith("#") else ""
    return re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
