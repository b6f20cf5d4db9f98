"""The supervisor with real processes; Label Studio isn't needed to be restarted or ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backend.children import Program, free_port
from backend.processes import run_worker, serve
from backend.settings import Settings, SettingsError, load_settings


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Program, str]]:
    port = free_port()
    environment = {
        **os.environ,
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "0" * 40,
        "MODEL_DIR": str(tmp_path / "state"),
        "MASKLOOP_HOST": "127.0.0.1",
        "PORT": str(port),
    }
    command = [sys.executable, "-m", "backend.cli", "serve"]
    program = Program("service", command, log=tmp_path / "log", env=environment)
    try:
        program.wait_for_http(f"http://127.0.0.1:{port}/health", timeout=60)
        yield program, f"http://127.0.0.1:{port}"
    finally:
        program.stop()


def child(program: Program, name: str) -> psutil.Process | None:
    for process in psutil.Process(program.pid).children():
        if process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[-1:] == [name]:
            return process
    return None


def until(seconds: float, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def other(program: Program, name: str, pid: int) -> bool:
    process = child(program, name)
    return process is not None and process.pid != pid


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_process_that_is_killed_is_started_again(service: tuple[Program, str], name: str) -> None:
    program, url = service
    until(30, lambda: child(program, name) is not None)
    first = child(program, name)
    assert first is not None
    first.send_signal(signal.SIGKILL)
    until(30, lambda: other(program, name, first.pid))
    program.wait_for_http(f"{url}/health", timeout=30)


def test_both_end_with_the_service(service: tuple[Program, str]) -> None:
    program, _ = service
    until(30, lambda: child(program, "worker") is not None)
    family = psutil.Process(program.pid).children(recursive=True)
    assert len(family) >= 3  # web, its gunicorn worker, the worker
    program.stop()
    gone, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    assert len(gone) == len(family)


def test_both_end_when_the_service_is_killed(service: tuple[Program, str]) -> None:
    program, _ = service
    until(30, lambda: child(program, "worker") is not None)
    family = psutil.Process(program.pid).children(recursive=True)
    os.kill(program.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []


@pytest.mark.parametrize("start", [serve, run_worker])
def test_a_device_that_is_not_there_stops_the_start(
    start: Callable[[Settings], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    settings = load_settings(
        label_studio_url="http://127.0.0.1:9",
        label_studio_api_key="0" * 40,
        model_dir=tmp_path,
        device="cuda:999",
    )
    with pytest.raises(SettingsError, match="MASKLOOP_DEVICE: the device is 'cuda:999', but"):
        start(settings)
