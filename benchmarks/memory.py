"""Memory along a long clip: 1,000 rendered frames of 480p, evaluated.

    python -m benchmarks.memory [FRAMES] [WIDTHxHEIGHT]

Prints a row every tenth of the clip and writes the curve to benchmarks/memory.svg.
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
    print(f"{frames} frames of {width}x{height}, {len(result.key_frames)} key frames, flow")
    print("| frame | MiB held |\n|---|---|")
    step = max(1, frames // 10)
    for index in [*range(step - 1, frames, step)]:
        print(f"| {index} | {result.memory[index]:.0f} |")
    print(f"peak {result.peak_memory_mb:.0f} MiB; {result.seconds_per_frame:.3f} s a frame")
    scores = result.unlabelled or {}
    print(f"mIoU of the unlabelled frames {scores['miou']:.4f}")


def _say(step: str, done: int, total: int) -> None:
    if done % 100 == 0:
        print(f"{step}: {done} of {total}", file=sys.stderr)


if __name__ == "__main__":
    main()
