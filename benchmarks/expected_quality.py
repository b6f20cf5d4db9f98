"""Expected quality against the true one: over clips, and over counts of key frames.

    python -m benchmarks.expected_quality [--sets camvid,davis,rendered] [--data FOLDER]
        [--method maskloop] [--finetune-seconds 0] [--fit]

A row for each clip and choice of key frames: the mIoU to expect of the unlabelled frames, the true
one, and the rank correlation of the two over those frames. Where ../shared/data (MASKLOOP_DATA) is
missing, only rendered clips are measured. --fit fits the laws of `model.signals` instead, on
rendered clips that are not among those measured, and prints their coefficients; that of a network's
dissent only with some seconds to fine-tune one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from backend.annotator import annotator_for
from backend.keyframes import parse_keys
from backend.quality import judge
from backend.settings import Settings, load_settings
from benchmarks.run import DATA
from model.benchmark import LabelledClip, find_clips, open_labelled
from model.clip import FrameSource
from model.flowstore import FlowStore
from model.metrics import confusion, mean_iou
from model.pipeline import ClipAnnotator
from model.quality import as_propagated
from model.signals import Signals, terms
from model.synthetic import RenderedClip, render_clip

KEYS = {
    "camvid": ("every:5", "every:10", "every:25"),
    "davis": ("every:15", "every:30", "first"),
    "rendered": ("every:5", "every:15", "first"),
}
MEASURED = (("hard", 101, 1), ("hard", 102, 2), ("easy", 103, 2))
FITTED = (
    ("hard", 1, 1),
    ("hard", 2, 1),
    ("hard", 3, 2),
    ("hard", 4, 2),
    ("easy", 21, 1),
    ("easy", 22, 2),
    ("easy", 23, 3),
    ("easy", 24, 4),
)
"""Rendered clips: difficulty, seed, and how many frames each step takes: more is faster."""

FRAMES = 46


class _Faster:
    """Every n-th frame, or mask, of a source."""

    def __init__(self, source: FrameSource, step: int) -> None:
        self._source = source
        self._step = step

    def __len__(self) -> int:
        return (len(self._source) + self._step - 1) // self._step

    def read(self, index: int) -> NDArray[np.uint8]:
        return self._source.read(index * self._step)


Fitted = tuple[tuple[float, ...], float, float]
"""What the coefficients are multiplied by, the true error, and the weight."""


@dataclass(frozen=True)
class Row:
    """One clip with some key frames.

    Attributes:
        clip: Its name.
        keys: Which frames are labelled.
        expected: mIoU to expect over the unlabelled frames.
        true: The true one.
        rank: Spearman's correlation of expected and true mIoU over those frames; NaN for none.
    """

    clip: str
    keys: str
    expected: float
    true: float
    rank: float


def rendered(plans: Sequence[tuple[str, int, int]]) -> Iterator[LabelledClip]:
    """Draw clips."""
    for difficulty, seed, step in plans:
        clip: RenderedClip = render_clip(FRAMES * step, (320, 240), seed, difficulty)
        frames, masks = _Faster(clip, step), _Faster(clip.masks, step)
        yield LabelledClip(frames, masks, clip.class_names, f"{clip.name}-step{step}")


def clips_of(name: str, data: Path) -> Iterator[LabelledClip]:
    """The clips of one of the sets in `KEYS`; none where the data is missing."""
    folders = {"camvid": data / "camvid-15hz", "davis": data / "davis"}
    if name == "rendered":
        yield from rendered(MEASURED)
    elif folders[name].is_dir():
        for folder in find_clips(folders[name]):
            yield open_labelled(folder)


def annotators(
    clip: LabelledClip, patterns: Sequence[str], settings: Settings
) -> Iterator[tuple[str, ClipAnnotator]]:
    """A fresh annotator for each choice of key frames; they share the clip's flow, nothing else."""
    flow: FlowStore | None = None
    for keys in patterns:
        annotator = annotator_for(clip.source, clip.class_names, settings)
        flow = annotator.flow = flow or annotator.flow
        yield keys, annotator


def measure(annotator: ClipAnnotator, clip: LabelledClip, keys: str) -> Row:
    """Label a clip from some of its true masks; compare what is expected with what is true."""
    labels = {index: clip.masks.read(index) for index in parse_keys(keys).of(len(clip))}
    annotator.finetune(labels)
    estimate, _ = judge(annotator, labels)
    count = len(clip.class_names)
    total, true = np.zeros((count, count + 1), np.int64), {}
    for result in annotator.propagate(labels):
        estimate.add(result)
        if result.index not in labels:
            counts = confusion(clip.masks.read(result.index), result.mask, count)
            total += counts
            true[result.index] = mean_iou(counts) or 0.0
    expected = [estimate.frames[index] for index in true]
    rank = rank_correlation(expected, list(true.values()))
    return Row(clip.name, keys, estimate.mean_iou, mean_iou(total) or 0.0, rank)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's; NaN where one of the two never changes, or there are fewer than two values."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def fit(settings: Settings) -> dict[str, NDArray[np.float64]]:
    """Fit the laws on the frames of `FITTED`: logistic regression on the share of error.

    A clip with some key frames weighs as the root of its number of frames. What a network's
    dissent tells is fitted on its first frame alone, where it is listened to without a judge.

    Returns:
        Level, slope, doubt and distance of the laws "between" and "beyond", which go by what is
        propagated without a network; where there is time for one, level and slope of "dissent".
    """
    rows: dict[bool, list[Fitted]] = {False: [], True: []}
    dissent: list[Fitted] = []
    plain = settings.model_copy(update={"finetune_seconds": 0.0})
    for clip in rendered(FITTED):
        for keys, annotator in annotators(clip, KEYS["rendered"], plain):
            seen = _signals(clip, keys, annotator)
            for side, group in groupby(seen, key=lambda pair: pair[0].beyond):
                part = list(group)
                rows[side] += [(terms(s), error, len(part) ** -0.5) for s, error in part]
        patterns = ("first",) if settings.finetune_seconds != 0 else ()
        for keys, annotator in annotators(clip, patterns, settings):
            seen = _signals(clip, keys, annotator)
            dissent += [
                ((1.0, s.dissent), error, len(seen) ** -0.5)
                for s, error in seen
                if s.dissent is not None
            ]
        print(f"fitting: {clip.name}", flush=True)
    between = _regress([(terms[:2], error, weight) for terms, error, weight in rows[False]])
    laws = {"between": np.append(between, [0.0, 0.0]), "beyond": _regress(rows[True])}
    return {**laws, "dissent": _regress(dissent)} if dissent else laws


def _signals(
    clip: LabelledClip, keys: str, annotator: ClipAnnotator
) -> list[tuple[Signals, float]]:
    """Signals and error of each unlabelled frame."""
    indices = parse_keys(keys).of(len(clip))
    labels = {index: clip.masks.read(index) for index in indices}
    annotator.finetune(labels)
    seen = []
    for result in annotator.propagate(labels):
        if result.index not in labels:
            counts = confusion(clip.masks.read(result.index), result.mask, len(clip.class_names))
            signals = Signals.of(as_propagated(result), indices)
            seen.append((signals, 1 - (mean_iou(counts) or 0.0)))
    return seen


def _regress(rows: Sequence[tuple[tuple[float, ...], float, float]]) -> NDArray[np.float64]:
    """Logistic regression on shares, by Newton's method."""
    x, y, weight = (np.array(column) for column in zip(*rows, strict=True))
    found: NDArray[np.float64] = np.zeros(x.shape[1])
    for _ in range(30):
        share = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        curve = (x * (weight * share * (1 - share))[:, None]).T @ x + 1e-3 * np.eye(len(found))
        found = found + np.linalg.solve(curve, x.T @ (weight * (y - share)))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows and their means, as a table of Markdown."""
    lines = ["| clip | key frames | expected | true | error | rank |", "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row.clip} | {row.keys} | {row.expected:.3f} | {row.true:.3f} "
            f"| {row.expected - row.true:+.3f} | {row.rank:.2f} |"
        )
    error = np.mean([abs(row.expected - row.true) for row in rows])
    rank = np.nanmean([row.rank for row in rows])
    lines.append(f"| mean of {len(rows)} (absolute error) | | | | {error:.4f} | {rank:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default="camvid,davis,rendered")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--method", default="maskloop")
    parser.add_argument("--finetune-seconds", type=float, default=0.0)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    settings = load_settings(method=options.method, finetune_seconds=options.finetune_seconds)
    if options.fit:
        for name, law in fit(settings).items():
            print(name, " ".join(f"{value:.2f}" for value in law))
        return
    rows: list[Row] = []
    for name in options.sets.split(","):
        for clip in clips_of(name, options.data):
            for keys, annotator in annotators(clip, KEYS[name], settings):
                rows.append(measure(annotator, clip, keys))
                print(table(rows[-1:]).splitlines()[2], flush=True)
    if rows:
        print(table(rows))


if __name__ == "__main__":
    main()
