"""One round from its labels to its published masks: seconds of each step, and peak memory.

    python -m benchmarks.round [--frames 100] [--size 854x480] [--keys uniform:10]

The round runs as the worker runs it, by `backend.rounds`, on a rendered clip whose frames are
files; Label Studio is played, so its own time is not in it. With --processor the time that
fine-tuning keeps to is the processor's, so that what else runs on the machine does not count: all
threads' seconds together, which is what the round takes on one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2

from backend.artifacts import Artifacts
from backend.keyframes import parse_keys
from backend.machine import peak_memory_mb, reset_peak
from backend.settings import load_settings
from backend.store import Store
from model.synthetic import RenderedClip, render_clip
from tests.backend.played_studio import Folder, PlayedStudio


class _TimedStore(Store):
    """Notes when each step of the round is finished."""

    finished: dict[str, tuple[float, float]]

    def set_round(self, round_id: int, **values: Any) -> None:
        super().set_round(round_id, **values)
        if "finished_step" in values:
            self.finished[values["finished_step"]] = (time.perf_counter(), time.process_time())


def _by_processor() -> None:
    """Let all of `model` look at the processor's clock."""
    clock = SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)
    for name, module in list(sys.modules.items()):
        if name.startswith("model.") and getattr(module, "time", None) is time:
            module.time = clock  # type: ignore[attr-defined]


def _draw(clip: RenderedClip, folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in range(len(clip)):
        picture = clip.read(index)[..., ::-1]
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])


def measure(
    clip: RenderedClip, keys: list[int], settings: dict[str, str], processor: bool
) -> list[str]:
    """Run one round on a clip; rows of a table, and what the round remarked."""
    from backend.rounds import RoundRunner, make_version

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _draw(clip, folder / "media" / "toy")
        chosen = load_settings(model_dir=folder / "state", **settings)
        studio = PlayedStudio(clip, folder)
        for task in studio.task_rows.values():
            task["data"]["image"] = task["data"]["image"].replace(".png", ".jpg")
        for index in keys:
            studio.label(index)
        store = _TimedStore(chosen.resolved_database_url)
        store.finished = {}
        store.ring(1)
        artifacts = Artifacts(chosen.model_dir / "projects")
        media: Any = Folder(folder / "media")
        runner = RoundRunner(store, artifacts, studio, media, chosen)  # type: ignore[arg-type]
        row = store.start_round(1, make_version(1), "benchmark")
        assert row is not None
        reset_peak()
        if processor:
            _by_processor()
        last = began = (time.perf_counter(), time.process_time())
        runner.run(row)
        rows = []
        for step, ended in store.finished.items():
            rows.append(f"| {step} | {ended[0] - last[0]:.1f} | {ended[1] - last[1]:.1f} |")
            last = ended
        done = store.round(row.id)
        store.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows += [
        f"| **all** | **{last[0] - began[0]:.1f}** | **{last[1] - began[1]:.1f}** |",
        "",
        f"Peak memory {peak_memory_mb():.0f} MiB"
        + (f", of a child process {children:.0f} MiB." if children else "."),
    ]
    return rows + [str(fit) for fit in (done.figures.get("fits", {}) if done else {}).values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", default="854x480")
    parser.add_argument("--keys", default="uniform:10")
    parser.add_argument("--look", default="hard", help="easy or hard")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processor", action="store_true")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    clip = render_clip(given.frames, (width, height), 1, given.look)
    keys = parse_keys(given.keys).of(given.frames)
    rows = measure(clip, keys, {"device": given.device}, given.processor)
    print(
        f"{given.frames} frames of {given.size}, {len(keys)} key frames, {given.device};"
        f" load on the {os.cpu_count()} cores at the end {os.getloadavg()[0]:.1f}\n"
    )
    print("| step | seconds | of the processor |\n|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
