"""`maskloop demo` from start to end, as processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import psutil
import pytest

from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip

pytestmark = pytest.mark.end_to_end

RENDERED = """
import sys
from pathlib import Path
from backend.demo import demo
from model.synthetic import render_clip
clip = render_clip(14, (96, 72), seed=1)
sys.exit(demo(Path(sys.argv[1]), rendered=clip, once="--once" in sys.argv))
"""
SETTINGS = {"MASKLOOP_FINETUNE_SECONDS": "3"}


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """A demo that runs."""

    def __init__(self, *command: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SETTINGS},
                # Tests in a shell's background are started deaf to Ctrl-C; the demo must hear it.
                preexec_fn=_hear_ctrl_c,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, seconds: float = 200) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def end(self) -> tuple[int, list[psutil.Process]]:
        """Wait for its end; its exit code, and what of it is left."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        code = self.process.wait(200)
        _, left = psutil.wait_procs(started, timeout=5)
        return code, left

    def kill(self) -> None:
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def folder(studio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "maskloop-demo"
    shutil.copytree(studio_folder, folder / "label-studio")
    return folder


@pytest.fixture(scope="module")
def ports_taken() -> Iterator[None]:
    """Somebody listens on the ports that the demo would like."""
    with ExitStack() as stack:
        for port in (8080, 9090):
            taken = stack.enter_context(socket.socket())
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody really does
            taken.listen()
        yield


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "street.mp4"
    source = render_clip(8, (96, 72), seed=2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for index in range(len(source)):
            frame = av.VideoFrame.from_ndarray(source.read(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def annotations(folder: Path) -> dict[str, list[int]]:
    """How many annotations each task has, by project title; asks the stopped server's data."""
    with StudioServer(folder / "label-studio") as server:
        studio = Studio(server.url, server.login.api_key)
        return {
            row["title"]: [len(task["annotations"]) for task in studio.tasks(row["id"])]
            for row in studio.projects("")
        }


@pytest.mark.usefixtures("ports_taken")
def test_three_times_in_one_folder(folder: Path, clip: Path, tmp_path: Path) -> None:
    # The rendered clip, to the first masks.
    run = Run("-c", RENDERED, str(folder), "--once", log=tmp_path / "first.log")
    try:
        run.wait_for("Open")
        code, left = run.end()
    finally:
        run.kill()
    assert code == 0, run.text
    assert left == []
    assert run.text.count("Labelled frame") == 3
    # Which steps are seen depends on how long they take: the display asks now and then.
    assert re.search(r"Round 1: (finetune|propagate|select|publish)", run.text)
    urls = re.findall(r"http://127\.0\.0\.1:(\d+)/projects/1/data", run.text)
    assert urls
    assert urls[0] != "8080"

    # Again: it goes on where it was. Nobody else may run in this folder. Ctrl-C ends it.
    run = Run("-c", RENDERED, str(folder), log=tmp_path / "second.log")
    try:
        run.wait_for("Log in")
        other = subprocess.run(
            [sys.executable, "-m", "backend.cli", "demo", "--folder", str(folder)],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        run.process.send_signal(signal.SIGINT)
        code, left = run.end()
    finally:
        run.kill()
    assert code == 0, run.text
    assert left == []
    assert "Labelled frame" not in run.text
    assert "14 were there" in run.text
    assert other.returncode == 1
    assert "running in" in other.stderr

    # A clip of one's own, in the same folder.
    command = ("-m", "backend.cli", "demo", "--folder", str(folder), "--once")
    options = ("--video", str(clip), "--labels", "car, road")
    run = Run(*command, *options, log=tmp_path / "own.log")
    try:
        run.wait_for("Log in")
        code, left = run.end()
    finally:
        run.kill()
    assert code == 0, run.text
    assert left == []
    found = annotations(folder)
    assert sorted(found["Maskloop demo"], reverse=True) == [1] * 3 + [0] * 11
    assert found["street"] == [0] * 8


def test_ctrl_c_while_it_starts_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    run = Run("-c", RENDERED, str(folder), log=tmp_path / "early.log")
    try:
        deadline = time.monotonic() + 60
        while not psutil.Process(run.process.pid).children(recursive=True):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.process.send_signal(signal.SIGTERM)
        code, left = run.end()
    finally:
        run.kill()
    assert code == 130, run.text
    assert left == []


def test_labels_without_a_clip(tmp_path: Path) -> None:
    run = Run("-m", "backend.cli", "demo", "--labels", "car", log=tmp_path / "wrong.log")
    assert run.process.wait(60) == 1
    assert "make demo VIDEO=" in run.text
