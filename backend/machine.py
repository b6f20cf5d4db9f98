"""What measures are taken on: the machine, the versions, and this process's memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import psutil

__all__ = ["describe_machine", "peak_memory_mb", "reset_peak", "resident_mb"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def describe_machine() -> dict[str, Any]:
    """Processor, memory, threads, and the versions of what does the work."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": {"opencv": cv2.getNumThreads(), "torch": torch.get_num_threads()},
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {
            name: version(name)
            for name in ("numpy", "opencv-python-headless", "scikit-learn", "torch")
        },
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def resident_mb() -> float:
    """Memory that this process holds now, in MiB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def reset_peak() -> None:
    """Begin `peak_memory_mb` anew, where the system can."""
    try:
        _CLEAR.write_text("5")
    except OSError:  # Elsewhere than on Linux the peak is that of the whole process.
        return


def peak_memory_mb() -> float:
    """The most memory that this process held since `reset_peak`, in MiB."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024
