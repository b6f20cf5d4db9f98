"""How the threads of numerical libraries behave towards what else runs on the machine."""

from __future__ import annotations

import os

__all__ = ["wait_passively"]


def wait_passively() -> None:
    """Let threads that have nothing to do sleep; to be called before torch is loaded.

    By OpenMP's default they go on spinning for a while. That takes the cores from whatever else
    runs, and where that spins as well, each training step takes several times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
