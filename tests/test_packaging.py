"""What is installed is all that runs: the wheel, what it requires, and what is pinned."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.imports import ROOT, imports

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = ("backend", "model", "selection")

# What a requirement brings by way of another: the SDK decides which OpenCV there is, and the plugin
# says itself how its host is installed.
_BROUGHT = {"cv2", "label_studio_ml"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _all(project: dict[str, Any]) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [
        Requirement(line) for line in [*project["dependencies"], *(r for e in extras for r in e)]
    ]


def test_each_requirement_is_pinned_to_a_version_that_it_allows(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in _all(project):
        assert requirement.specifier.contains(pins[_name(requirement.name)]), requirement


def test_each_import_is_of_something_that_is_required(project: dict[str, Any]) -> None:
    required = {_name(requirement.name) for requirement in _all(project)}
    known = packages_distributions()
    imported = {name for package in PACKAGES for _, name in imports(package)}
    foreign = imported - {*PACKAGES, *_BROUGHT, *sys.stdlib_module_names}
    missing = {
        module
        for module in foreign
        if not required & {_name(distribution) for distribution in known.get(module, [])}
    }
    assert not missing


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in PACKAGES:
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    files = {
        file.relative_to(source).as_posix() for file in source.glob("*/**/*") if file.is_file()
    }
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(PACKAGES)}
    assert packed == files
    assert {"model/weights/refine.pt", "model/weights/refine.json", "model/py.typed"} <= packed
