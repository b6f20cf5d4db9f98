"""Optical flow estimators by name, and the forward-backward check.

A flow is (H, W, 2) float32, x first, in pixels: what `source` shows at x is in `target` at
x + flow(x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from model.warp import identity_map, inside, sample

__all__ = [
    "FLOWS",
    "DISFlow",
    "FlowEstimator",
    "forward_backward_check",
    "forward_backward_confidence",
    "get_flow",
    "register_flow",
    "round_trip_tolerance",
]

_SMALLEST = 32
"""DIS needs a few patches of 8 pixels at its coarsest scale; smaller images are padded to this."""


@runtime_checkable
class FlowEstimator(Protocol):
    """Estimates flow between two frames of one size."""

    name: str

    def flow(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        initial: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the flow from `source` to `target`.

        Args:
            source: (H, W, 3) uint8 RGB.
            target: (H, W, 3) uint8 RGB.
            initial: (H, W, 2) float32, a first guess.

        Returns:
            (H, W, 2) float32: `source` at x matches `target` at x + flow(x).

        Raises:
            ValueError: The frames are not two images of one size.
        """
        ...


class DISFlow:
    """Dense Inverse Search (Kroeger et al., ECCV 2016) of OpenCV, on grey frames.

    Several threads may ask; it works for one at a time.

    Args:
        preset: "ultrafast", "fast" or "medium".
        finest_scale: The finest level of the pyramid that is searched: 0 is full resolution,
            each more halves it. None keeps the preset's (1 for medium, 2 for the others).
        smoothing: Iterations of the variational refinement, which smooths across edges as well;
            None keeps the preset's (5 for medium and fast, 0 for ultrafast).
    """

    def __init__(
        self,
        preset: str = "medium",
        finest_scale: int | None = None,
        smoothing: int | None = None,
    ) -> None:
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        if preset not in presets:
            raise ValueError(f"DIS preset must be one of {', '.join(presets)}, not {preset!r}")
        if finest_scale is not None and finest_scale < 0:
            raise ValueError(f"finest_scale must be 0 or more, not {finest_scale}")
        if smoothing is not None and smoothing < 0:
            raise ValueError(f"smoothing must be 0 or more, not {smoothing}")
        scale = "" if finest_scale is None else f"-scale{finest_scale}"
        smooth = "" if smoothing is None else f"-smooth{smoothing}"
        self.name = f"dis-{preset}{scale}{smooth}"
        self._preset = presets[preset]
        self._finest_scale = finest_scale
        self._smoothing = smoothing
        self._estimator: Any = None
        self._working = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_estimator": None, "_working": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _working=Lock())

    def flow(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        initial: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the (H, W, 2) float32 flow; see `FlowEstimator.flow`."""
        if source.shape != target.shape:
            raise ValueError(
                f"flow needs two frames of one size; got {source.shape} and {target.shape}"
            )
        height, width = source.shape[:2]
        below, right = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
        guess = None if initial is None else np.array(initial, dtype=np.float32, order="C")
        if guess is not None and guess.shape != (height, width, 2):
            raise ValueError(f"initial must be {(height, width, 2)}; got {guess.shape}")
        images = [_grey(image) for image in (source, target)]
        if below or right:
            pad = ((0, below), (0, right))
            images = [np.pad(image, pad, mode="edge") for image in images]
            guess = None if guess is None else np.pad(guess, (*pad, (0, 0)), mode="edge")
        with self._working:
            out: NDArray[np.float32] = self._made().calc(images[0], images[1], guess)
        return np.ascontiguousarray(out[:height, :width])

    def _made(self) -> Any:
        if self._estimator is None:
            self._estimator = cv2.DISOpticalFlow.create(self._preset)
            if self._finest_scale is not None:
                self._estimator.setFinestScale(self._finest_scale)
            if self._smoothing is not None:
                self._estimator.setVariationalRefinementIterations(self._smoothing)
        return self._estimator


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a frame is (H, W, 3) uint8; got {image.shape} {image.dtype}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def forward_backward_check(
    forward: NDArray[np.float32], backward: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Tell where the flow there and back returns (Sundaram et al., ECCV 2010).

    A pixel passes where |w_f + w_b|² < 0.01 (|w_f|² + |w_b|²) + 0.5, w_b sampled at the flow's
    end, and that end is inside the image.

    Args:
        forward: (H, W, 2) float32, a → b.
        backward: (H, W, 2) float32, b → a.

    Returns:
        (H, W) bool, on a's pixels.
    """
    scale = _squared_lengths(forward, backward)
    error, ends = _round_trip(forward, backward)
    return np.asarray((error < 0.01 * scale + 0.5) & inside(ends, *backward.shape[:2]))


def forward_backward_confidence(
    forward: NDArray[np.float32],
    backward: NDArray[np.float32],
    tolerance: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Soft form of the check: exp(−|w_f + w_b|² / (0.02 (|w_f|² + |w_b|²) + 1)), 0 outside.

    Args:
        forward: (H, W, 2) float32, a → b.
        backward: (H, W, 2) float32, b → a.
        tolerance: (H, W) float32, what is divided by, where `round_trip_tolerance` was asked.

    Returns:
        (H, W) float32, 0 to 1, on the pixels of the frame that `forward` starts from.
    """
    if tolerance is None:
        tolerance = round_trip_tolerance(forward, backward)
    error, ends = _round_trip(forward, backward)
    np.divide(error, tolerance, out=error)
    np.negative(error, out=error)
    confidence: NDArray[np.float32] = np.asarray(cv2.exp(error, dst=error))
    confidence = confidence.reshape(forward.shape[:2])
    np.copyto(confidence, np.float32(0), where=~inside(ends, *backward.shape[:2]))
    return confidence


def round_trip_tolerance(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """0.02 (|w_1|² + |w_2|²) + 1, (H, W) float32: the same for the way there and the way back."""
    out = _squared_lengths(first, second)
    out *= np.float32(0.02)
    out += np.float32(1)
    return out


def _squared_lengths(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """|w_1|² + |w_2|² at each pixel."""
    _check_flows(first, second)
    out = _squared_length(first)
    out += _squared_length(second)
    return out


def _round_trip(
    forward: NDArray[np.float32], backward: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return |w_f + w_b|², and where the forward flow ends."""
    _check_flows(forward, backward)
    ends = identity_map(*forward.shape[:2]) + forward
    total = sample(backward, ends)
    total += forward
    return _squared_length(total), ends


def _check_flows(first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 2:
        raise ValueError(
            f"the two flows must be (H, W, 2) of one size; got {first.shape}, {second.shape}"
        )


def _squared_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = np.square(vectors)
    out: NDArray[np.float32] = squares[..., 0] + squares[..., 1]
    return out


FLOWS: dict[str, Callable[[], FlowEstimator]] = {}
"""Factories of flow estimators by name."""


def register_flow(name: str, factory: Callable[[], FlowEstimator]) -> None:
    """Make `get_flow(name)` return `factory()`; raises `ValueError` where the name is taken."""
    if name in FLOWS:
        raise ValueError(f"a flow named {name!r} is registered already")
    FLOWS[name] = factory


register_flow("dis", DISFlow)
register_flow("dis-ultrafast", lambda: DISFlow("ultrafast"))
register_flow("dis-fast", lambda: DISFlow("fast"))
register_flow("dis-fine", lambda: DISFlow("medium", finest_scale=0))
register_flow("dis-sharp", lambda: DISFlow("medium", finest_scale=0, smoothing=0))
register_flow("dis-quick", lambda: DISFlow("medium", smoothing=0))


def _plugins() -> Iterator[Any]:
    yield from entry_points(group="maskloop.flows")


def get_flow(name: str) -> FlowEstimator:
    """Build the estimator registered under `name`, or offered by an installed package.

    Other packages offer theirs by an entry point of the group `maskloop.flows` that names a
    callable without arguments.

    Raises:
        ValueError: No flow has this name.
    """
    if name in FLOWS:
        return FLOWS[name]()
    plugins = {point.name: point for point in _plugins()}
    if name in plugins:
        estimator: FlowEstimator = plugins[name].load()()
        return estimator
    known = ", ".join(sorted({*FLOWS, *plugins}))
    raise ValueError(f"there is no flow named {name!r}; the flows are {known}")
