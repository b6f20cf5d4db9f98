"""Memory along a long clip: 1,000 rendered frames of 480p, evaluated.

    python -m benchmarks.memory [FRAMES] [WIDTHxHEIGHT]

Writes the curve to benchmarks/memory.svg and a row every tenth of the clip to
benchmarks/memory.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from backend.evaluation import evaluate_clip
from backend.figures import memory_curve
from backend.keyframes import parse_keys
from backend.settings import load_settings
from model.benchmark import LabelledClip
from model.synthetic import render_clip

HERE = Path(__file__).parent


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    width, height = map(int, (sys.argv[2] if len(sys.argv) > 2 else "854x480").split("x"))
    drawn = render_clip(frames, (width, height), 0, "easy")
    clip = LabelledClip(drawn, drawn.masks, drawn.class_names, drawn.name)
    keys = parse_keys("every:50")
    result = evaluate_clip(clip, keys, load_settings(method="flow"), report=_say)
    (HERE / "memory.svg").write_text(memory_curve(result.memory), encoding="utf-8")
    step = max(1, frames // 10)
    lines = [
        "# Memory along a long clip",
        "",
        f"`python -m benchmarks.memory {frames} {width}x{height}`: {frames} rendered frames of "
        f"{width}x{height}, {len(result.key_frames)} key frames, method flow.",
        "",
        "| frame | MiB held |",
        "|---|---|",
        *[f"| {index} | {result.memory[index]:.0f} |" for index in range(step - 1, frames, step)],
        "",
        f"Peak {result.peak_memory_mb:.0f} MiB.",
        "",
        "![The curve](memory.svg)",
    ]
    (HERE / "memory.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _say(step: str, done: int, total: int) -> None:
    if done % 100 == 0:
        print(f"{step}: {done} of {total}", file=sys.stderr)


if __name__ == "__main__":
    main()
