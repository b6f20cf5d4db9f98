"""How fast the service answers, idle and while a round runs: ``python -m benchmarks.service``.

Real Label Studio, real service, one task a request as Label Studio's stream sends them. The
request and its answer go through HTTP on this machine; each figure is in milliseconds.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import requests

from backend.formats import encode
from backend.init import BackendAddress, init
from backend.labelconfig import parse_label_config
from backend.local_service import LocalService
from backend.studio import Studio
from backend.studio_server import StudioServer
from model.synthetic import render_clip, write_clip

_LIMIT_SECONDS = 600.0


def _wait(service: LocalService, project: int, rounds: int) -> None:
    end = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < end:
        status = service.status(project)
        if sum(row["state"] == "done" for row in status.get("rounds", [])) >= rounds:
            return
        time.sleep(0.3)
    raise SystemExit(f"no round finished within {_LIMIT_SECONDS:.0f} s: {status}")


def _ask(http: requests.Session, url: str, body: dict[str, object]) -> float:
    started = time.perf_counter()
    http.post(url, json=body, timeout=60).raise_for_status()
    return (time.perf_counter() - started) * 1000


def _row(name: str, times: list[float]) -> str:
    median, late = np.percentile(times, [50, 99])
    return f"| {name} | {len(times)} | {median:.1f} | {late:.1f} | {max(times):.1f} |"


def measure(frames: int, size: tuple[int, int], idle: int) -> list[str]:
    """Rows of a table: idle, then while the second round runs."""
    clip = render_clip(frames, size, seed=1)
    with tempfile.TemporaryDirectory() as name, StudioServer(Path(name) / "studio") as server:
        folder = Path(name)
        write_clip(clip, folder / "clip", flow=False)
        studio = Studio(server.url, server.login.api_key)
        with (
            LocalService(
                folder / "service",
                studio_url=server.url,
                api_key=server.login.api_key,
                settings={"MASKLOOP_BUDGET": "3"},
            ) as service,
            requests.Session() as http,
        ):
            http.trust_env = False
            made = init(
                studio, folder / "clip" / "frames", backend=BackendAddress(service.url),
                labels=clip.class_names[1:], title="benchmark",
            )  # fmt: skip
            project = made.project_id
            _wait(service, project, 1)
            row = studio.project(project)
            config = parse_label_config(row["label_config"])
            tasks = list(studio.tasks(project))

            def label(index: int) -> None:
                frame = tasks[index]["data"]["frame"]
                studio.create_annotation(tasks[index]["id"], encode(clip.mask(frame), config))

            for index in (0, frames // 2, frames - 1):
                label(index)
            _wait(service, project, 2)

            def predict(index: int) -> dict[str, object]:
                return {
                    "tasks": [tasks[index % frames]], "project": f"{project}.1",
                    "label_config": row["label_config"], "params": {"context": None},
                }  # fmt: skip

            bell: dict[str, object] = {
                "action": "ANNOTATION_UPDATED",
                "project": {"id": project, "label_config": row["label_config"]},
            }
            calm = [_ask(http, f"{service.url}/predict", predict(i)) for i in range(idle)]
            calm_bell = [_ask(http, f"{service.url}/webhook", bell) for _ in range(idle)]
            for index in (frames // 4, frames // 3, 3 * frames // 4):
                label(index)
            while not service.status(project)["round"]:
                time.sleep(0.1)
            busy: list[float] = []
            busy_bell: list[float] = []
            while True:
                for _ in range(20):
                    busy.append(_ask(http, f"{service.url}/predict", predict(len(busy))))
                    busy_bell.append(_ask(http, f"{service.url}/webhook", bell))
                    time.sleep(0.02)
                if not service.status(project)["round"]:
                    break
    return [
        _row("`/predict`, idle", calm),
        _row("`/predict`, a round runs", busy),
        _row("`/webhook`, idle", calm_bell),
        _row("`/webhook`, a round runs", busy_bell),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--idle", type=int, default=300)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    rows = measure(given.frames, (width, height), given.idle)
    print(f"{given.frames} frames of {given.size}; {platform.processor() or platform.machine()}\n")
    print("| request | calls | median | 99th percentile | worst |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
