"""How propagation works, in one place: the plain `flow` method, and the better ones."""

from __future__ import annotations

from dataclasses import dataclass

from model.match import MatchSettings

__all__ = ["PropagationSettings"]


@dataclass(frozen=True)
class PropagationSettings:
    """How propagation weighs its sources. The defaults are the plain `flow` method.

    Attributes:
        decay: τ, frames over which a key frame's word falls to 1/e.
        colour_sigma: σ, in units of CIE Lab.
        floor: ε, what is left to a source that both checks reject.
        evidence_range: Least and most share of the network's evidence in a pixel, before
            `evidence_weight`; between them the share is 1 − confidence.
        held_out: The most key frames that are held out to judge a network and to teach refinement.
        ahead: Whether flow is worked out in a thread, ahead of what it is needed for. Results are
            the same; it is worth its memory where there is a second core.
        memory: Bytes of chains kept in memory; what exceeds them goes to a temporary file.
        matching: Local matching around the warped positions (`model.match`); None is without.
        direct_below: With matching: a chain whose mean confidence about outlines is below this
            is joined by a direct flow to its key frame.
        recall: With matching, where there is a key frame on one side only: the weight of the
            result of the frame before.
        refine: With matching: the share of the refining network's correction (`model.refine`), 0
            to 1, where the clip's own key frames do not say it; None is without refinement.
        steady: λ, the weight of the frames before and after in a clip's masks (`model.steady`);
            0 is without. It is for `ClipAnnotator.propagate`, which has them all.
    """

    decay: float = 10.0
    colour_sigma: float = 6.0
    floor: float = 0.02
    evidence_range: tuple[float, float] = (0.1, 0.6)
    held_out: int = 4
    ahead: bool = True
    memory: int = 256 * 2**20
    matching: MatchSettings | None = None
    direct_below: float = 0.5
    recall: float = 0.1
    refine: float | None = None
    steady: float = 0.0

    @classmethod
    def best(cls, refine: float | None = None) -> PropagationSettings:
        """Everything that earns its time; meant for the flow `dis-sharp`."""
        return cls(matching=MatchSettings(), refine=refine, steady=1.0)
