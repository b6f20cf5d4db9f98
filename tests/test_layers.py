"""Who may know whom: the libraries know nothing of the service, nor of each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _imports(package: str) -> Iterator[tuple[str, str]]:
    """Each file of a package with each package that it imports, at whatever place."""
    for file in sorted((ROOT / package).rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield name, (node.module or "").partition(".")[0]


@pytest.mark.parametrize(
    ("package", "unknown", "exceptions"),
    [
        ("model", {"backend", "selection", "flask", "sqlalchemy", "label_studio_sdk"}, set()),
        ("selection", {"backend", "model", "torch", "flask", "sqlalchemy"}, set()),
        # It tells which version there is.
        ("backend", {"torch"}, {"backend/machine.py"}),
    ],
)
def test_a_package_does_not_import(package: str, unknown: set[str], exceptions: set[str]) -> None:
    found = {file for file, name in _imports(package) if name in unknown}
    assert found == exceptions


@pytest.mark.parametrize("package", ["model", "selection"])
def test_a_library_reads_no_environment(package: str) -> None:
    readers = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / package).rglob("*.py")
        if "environ" in file.read_text(encoding="utf-8").replace("environment", "")
    }
    # torchrun tells a process its place in no other way.
    assert readers <= {"model/distributed.py"}
