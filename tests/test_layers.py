"""Who may know whom: the libraries know nothing of the service, nor of each other."""

from __future__ import annotations

import pytest

from tests.imports import ROOT, imports


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
    found = {file for file, name in imports(package) if name in unknown}
    assert found == exceptions


@pytest.mark.parametrize("package", ["model", "selection"])
def test_a_library_names_no_setting_of_the_service(package: str) -> None:
    files = (ROOT / package).rglob("*.py")
    assert [file.name for file in files if "MASKLOOP_" in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("package", ["model", "selection"])
def test_a_library_reads_no_environment(package: str) -> None:
    readers = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / package).rglob("*.py")
        if "environ" in file.read_text(encoding="utf-8").replace("environment", "")
    }
    # torchrun tells a process its place in no other way.
    assert readers <= {"model/distributed.py"}
