"""How many threads work, and how they behave towards what else runs on the machine."""

from __future__ import annotations

import os

__all__ = ["usable_cores", "wait_passively"]


def wait_passively() -> None:
    """Let threads that have nothing to do sleep; to be called before torch is loaded.

    By OpenMP's default they go on spinning for a while. That takes the cores from whatever else
    runs, and where that spins as well, each training step takes several times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usable_cores() -> int:
    """How many cores this process may use: by its affinity, and by OMP_NUM_THREADS where set."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores
