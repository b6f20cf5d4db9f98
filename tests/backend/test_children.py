from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backend.children import ChildError, Program, free_port

SLEEPS = "import time; print('here', flush=True); time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(60)"
)
PARENT = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); time.sleep(60)"
)

Start = Callable[[str], Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Program] = []

    def run(code: str) -> Program:
        log = tmp_path / "logs" / f"{len(started)}.log"
        started.append(Program("It", [sys.executable, "-c", code], log=log, env=os.environ))
        return started[-1]

    yield run
    for program in started:
        program.stop()


def wait_for_output(program: Program) -> str:
    program.wait_until(lambda: bool(program.log.read_text().strip()), timeout=30, pause=0.01)
    return program.log.read_text().strip()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestProgram:
    def test_runs_until_it_is_stopped(self, start: Start) -> None:
        program = start(SLEEPS)
        assert wait_for_output(program) == "here"
        program.check()
        program.stop()
        assert not program.running
        program.stop()

    def test_one_that_will_not_end_is_killed(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.children._GRACE_SECONDS", 0.2)
        program = start(STUBBORN)
        wait_for_output(program)
        program.stop()
        assert not program.running

    def test_what_it_started_ends_with_it(self, start: Start) -> None:
        program = start(PARENT)
        grandchild = int(wait_for_output(program))
        program.stop()
        deadline = time.monotonic() + 20
        while not is_gone(grandchild):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_one_that_has_ended_says_what_it_wrote(self, start: Start) -> None:
        program = start("print('no such module'); raise SystemExit(3)")
        with pytest.raises(ChildError, match=r"It ended with code 3(.|\n)*no such module"):
            program.wait_until(lambda: False, timeout=30)
        with pytest.raises(ChildError, match="code 3"):
            program.check()

    def test_one_that_is_not_ready_in_time(self, start: Start) -> None:
        with pytest.raises(ChildError, match="not ready"):
            start(SLEEPS).wait_until(lambda: False, timeout=0.05)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
    def test_ends_when_its_parent_is_killed(self, start: Start, tmp_path: Path) -> None:
        code = f"""
import os, sys, time
from pathlib import Path
from backend.children import Program
program = Program("It", [sys.executable, "-c", "import time; time.sleep(60)"],
                  log=Path({str(tmp_path)!r}) / "child.log", env=os.environ)
print(program.pid, flush=True)
time.sleep(60)
"""
        parent = start(code)
        child = int(wait_for_output(parent))
        os.kill(parent.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not is_gone(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)


class TestFreePort:
    def test_a_port_that_is_taken_is_passed_over(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert free_port((port,)) != port
        assert free_port((port,)) == port
