"""Memory along rendered clips of several lengths, evaluated: it must not grow with the length.

    python -m benchmarks.memory [--method METHOD] [--size WIDTHxHEIGHT] [FRAMES ...]

Writes benchmarks/memory-METHOD.md, a row for each length, and the curve of the longest clip to
benchmarks/memory-METHOD.svg.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backend.evaluation import ClipEvaluation, evaluate_clip
from backend.figures import memory_curve
from backend.keyframes import parse_keys
from backend.settings import load_settings
from model.benchmark import LabelledClip
from model.pipeline import METHODS
from model.synthetic import render_clip

HERE = Path(__file__).parent
KEYS = "every:50"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("frames", nargs="*", type=int, default=[50, 1000])
    parser.add_argument("--method", choices=METHODS, default="flow")
    parser.add_argument("--size", default="854x480", metavar="WIDTHxHEIGHT")
    parser.add_argument("--finetune-seconds", type=float, default=60.0)
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    results = [
        _evaluated(frames, (width, height), asked.method, asked.finetune_seconds)
        for frames in sorted(asked.frames)
    ]
    name = f"memory-{asked.method}"
    (HERE / f"{name}.svg").write_text(memory_curve(results[-1].memory), encoding="utf-8")
    command = " ".join(["python -m benchmarks.memory", *sys.argv[1:]])
    lines = [
        "# Memory along a clip",
        "",
        f"`{command}`: rendered frames of {width}x{height}, key frames {KEYS}, method"
        f" {asked.method}. MiB that the process holds, the libraries included.",
        "",
        "| frames | most | after a quarter | half | three quarters | the last |",
        "|---|---|---|---|---|---|",
        *[_row(result) for result in results],
        "",
        f"![The curve of {len(results[-1].frames)} frames]({name}.svg)",
    ]
    (HERE / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _evaluated(frames: int, size: tuple[int, int], method: str, seconds: float) -> ClipEvaluation:
    drawn = render_clip(frames, size, 0, "easy")
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    settings = load_settings(method=method, finetune_seconds=seconds)
    return evaluate_clip(clip, parse_keys(KEYS), settings, follow=False, report=_say)


def _row(result: ClipEvaluation) -> str:
    count = len(result.memory)
    held = [result.memory[max(0, count * quarter // 4 - 1)] for quarter in (1, 2, 3, 4)]
    cells = [f"{value:.0f}" for value in (result.peak_memory_mb, *held)]
    return f"| {count} | {' | '.join(cells)} |"


def _say(step: str, done: int, total: int) -> None:
    if done % 50 == 0:
        print(f"{step}: {done} of {total}", file=sys.stderr)


if __name__ == "__main__":
    main()
