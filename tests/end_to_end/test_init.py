"""`maskloop init` on the command line: a video file, uploads, a personal access token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from backend.formats import decode, encode
from backend.labelconfig import parse_label_config
from backend.local_service import LocalService
from backend.store import Store
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import RenderedClip, render_clip

pytestmark = pytest.mark.end_to_end

LABELS = "ball,box,star,fish,ring"


def write_video(clip: RenderedClip, path: Path, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *clip.size, "yuv420p"
        stream.bit_rate = 4_000_000
        for index in range(len(clip)):
            frame = av.VideoFrame.from_ndarray(clip.read(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def maskloop(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *command],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_video_is_uploaded_labelled_and_masked(
    studio: Studio,
    server: StudioServer,
    personal_token: str,
    start_service: Callable[..., LocalService],
    tmp_path: Path,
) -> None:
    clip = render_clip(20, (96, 72), seed=7)
    video = tmp_path / "a walk.mp4"
    write_video(clip, video, rate=10)
    service = start_service(
        api_key=personal_token,
        MASKLOOP_BUDGET="1",
        MASKLOOP_METHOD="flow",
        MASKLOOP_QUIET_SECONDS="1",
    )
    login = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": personal_token}
    command = ("init", str(video), "--labels", LABELS, "--fps", "5", "--backend", service.url)

    made = maskloop(*command, **login)
    assert made.returncode == 0, made.stderr
    project = int(made.stdout.strip().split("/")[-2])
    again = maskloop(*command, **login)
    assert again.returncode == 0, again.stderr
    assert again.stdout == made.stdout

    tasks = {task["data"]["frame"]: task for task in studio.tasks(project)}
    assert sorted(tasks) == list(range(10))
    assert {task["data"]["clip"] for task in tasks.values()} == {"a walk"}
    assert [tasks[i]["data"]["time"] for i in range(10)] == pytest.approx(np.arange(10) / 5)
    assert all(task["data"]["image"].startswith("/data/upload/") for task in tasks.values())

    # The service fetches the uploads with its own token: one label, and every frame has a mask.
    store = Store(f"sqlite:///{service.folder / 'maskloop.db'}")

    def rounds_done(labels: int) -> bool:
        return any(row.state == "done" and row.labels >= labels for row in store.rounds(project))

    service.program.wait_until(lambda: rounds_done(0), timeout=200)
    served = studio.next_task(project)
    assert served is not None
    config = parse_label_config(str(studio.project(project)["label_config"]))
    truth = clip.mask(2 * served["data"]["frame"])
    studio.create_annotation(served["id"], encode(truth, config))
    service.program.wait_until(lambda: rounds_done(1), timeout=200)
    store.close()

    neighbour = tasks[served["data"]["frame"] - 1 or 1]
    found = studio.request("GET", "/api/predictions", params={"task": neighbour["id"]})
    version = studio.project(project)["model_version"]
    (prediction,) = [each for each in found if each["model_version"] == version]
    mask = decode(prediction["result"], config, (72, 96))
    wanted = clip.mask(2 * neighbour["data"]["frame"])
    assert (mask == wanted).mean() > 0.9


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("nothing.mp4", "--labels", "car"), "nothing.mp4"),
        (("{folder}", "--labels", "car"), "holds no image"),
        (("{folder}/1.png", "--labels", "car,car"), "twice"),
        (
            ("{folder}/1.png", "--labels", "car", "--backend", "http://127.0.0.1:9"),
            "maskloop serve",
        ),
        (("{folder}/1.png", "--project", "98765"), "98765"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    server: StudioServer, tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    if "{folder}/1.png" in command:
        cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    login = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": server.login.api_key}
    title = f"wrong {abs(hash(command)) % 10**8}"
    place = [part.replace("{folder}", str(tmp_path)) for part in command]
    answer = maskloop("init", *place, "--title", title, **login)
    assert answer.returncode == 1
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_the_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    nothing = {"LABEL_STUDIO_URL": "", "LABEL_STUDIO_API_KEY": ""}
    answer = maskloop("init", str(tmp_path), "--labels", "car", **nothing)
    assert answer.returncode == 1
    assert "LABEL_STUDIO_URL" in answer.stderr
    assert "LABEL_STUDIO_API_KEY" in answer.stderr
