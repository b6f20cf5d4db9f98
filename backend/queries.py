"""What the simulated annotator is asked for: kinds of samples, and how many a round."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budget", "parse_budget"]


@dataclass(frozen=True)
class Budget:
    """Samples a round, a number or a share of the clip's samples; `text` is as asked for."""

    text: str
    number: int = 0
    share: float = 0.0

    def of(self, samples: int) -> int:
        """How many of a clip's samples: at least 1, at most all."""
        wanted = self.number or round(self.share * samples)
        return min(max(wanted, 1), samples)


def parse_budget(text: str) -> Budget:
    """Read a budget: `5`, or `10%` of the clip's samples.

    Raises:
        ValueError: It is neither.
    """
    try:
        if text.strip().endswith("%"):
            share = float(text.strip()[:-1]) / 100
            if 0 < share <= 1:
                return Budget(text, share=share)
        elif int(text) >= 1:
            return Budget(text, number=int(text))
    except ValueError:
        pass
    raise ValueError(f"budget {text!r}: expected samples a round, such as 5, or a share, as in 10%")
