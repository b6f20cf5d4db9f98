"""Our codecs of masks against the SDK's, as ratios of one run:

    python -m benchmarks.codecs [--data FOLDER]

Every mask is coded by both in turns, and the fastest of some goes is taken of each. Bytes and masks
are compared too: a difference ends the run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from label_studio_sdk.converter import brush
from rich.console import Console
from rich.table import Table

from backend.formats import MASK_FORMATS, EncodeOptions, decode_rle, encode_rle
from model.synthetic import render_clip

DATA = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[2] / "shared" / "data"))
GOES = 15
Mask = npt.NDArray[np.bool_]


def masks(data: Path) -> Iterator[tuple[str, Mask]]:
    """Masks by set: each class of two frames a clip; then noise, the worst there is."""
    chosen: list[Path] = []
    for folder in sorted(data.glob("*/*/masks")):
        paths = sorted(folder.glob("*.png"))
        chosen += [paths[0], paths[len(paths) // 2]]
    for path in chosen:
        values = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        for value in np.setdiff1d(np.unique(values), (0, 255)):
            yield path.parts[-4], values == value
    clip = render_clip(60, (854, 480), seed=0)
    for index in (0, 30):
        values = clip.mask(index)
        for value in np.setdiff1d(np.unique(values), (0,)):
            yield "rendered", values == value
    yield "noise", np.random.default_rng(0).random((480, 854)) < 0.5


def fastest(*works: Callable[[], Any]) -> list[float]:
    """Seconds of the fastest go of each, taken in turns."""
    best = [float("inf")] * len(works)
    for _ in range(GOES):
        for number, work in enumerate(works):
            begin = time.perf_counter()
            work()
            best[number] = min(best[number], time.perf_counter() - begin)
    return best


def ratios(mask: Mask) -> dict[str, float]:
    """How many times as fast as the SDK; and milliseconds and bytes of each format."""
    height, width = mask.shape
    bytes_of = mask.astype(np.uint8) * 255
    rle = encode_rle(mask)
    mask2rle: Callable[[npt.NDArray[np.uint8]], list[int]] = brush.mask2rle
    if rle != mask2rle(bytes_of):
        raise SystemExit("the bytes differ from the SDK's")
    if not np.array_equal(decode_rle(rle, height, width), mask):
        raise SystemExit("the mask does not come back")
    theirs, ours = fastest(lambda: mask2rle(bytes_of), lambda: encode_rle(mask))
    found = {"encode": theirs / ours, "rle ms": ours * 1e3}

    def by_the_sdk() -> Mask:
        return np.asarray(brush.decode_rle(rle).reshape(height, width, 4)[:, :, 3] > 127)

    theirs, ours = fastest(by_the_sdk, lambda: decode_rle(rle, height, width))
    found |= {"decode": theirs / ours, "rle kB": len(rle) / 1e3}
    for shape in ("bitmask", "polygon"):
        (seconds,) = fastest(lambda s=shape: list(MASK_FORMATS[s].encode(mask, EncodeOptions())))  # type: ignore[misc]
        found[f"{shape} ms"] = seconds * 1e3
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    rows: dict[str, list[dict[str, float]]] = {}
    for name, mask in masks(parser.parse_args().data):
        rows.setdefault(name, []).append(ratios(mask))
    table = Table(title="times as fast as label-studio-sdk: median (least)")
    columns = ("encode", "decode", "rle ms", "rle kB", "bitmask ms", "polygon ms")
    for column in ("masks", "of", *columns):
        table.add_column(column, justify="left" if column == "masks" else "right")
    for name, of in rows.items():
        cells = []
        for column in columns:
            values = [each[column] for each in of]
            ratio = f"{np.median(values):.1f}× ({min(values):.1f}×)"
            cells.append(ratio if column in ("encode", "decode") else f"{np.median(values):.2f}")
        table.add_row(name, str(len(of)), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
