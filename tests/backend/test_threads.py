import os
import subprocess
import sys

import pytest

from backend.threads import usable_cores, wait_passively

_COMMAND = """
import backend.cli
backend.cli.app = lambda: None
backend.cli.main()
"""


def test_what_a_person_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("start", [_COMMAND, "import benchmarks"])
def test_it_is_said_before_torch_is_loaded(start: str) -> None:
    code = f"{start}\nimport os, sys\nprint('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "PASSIVE"], run.stderr


@pytest.mark.parametrize(("asked", "most"), [("1", 1), ("1,2", 1), ("", 10**6), ("many", 10**6)])
def test_the_environment_bounds_the_cores(
    monkeypatch: pytest.MonkeyPatch, asked: str, most: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= usable_cores() <= min(most, os.cpu_count() or 1)
