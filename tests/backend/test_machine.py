"""What is said of the machine."""

import json

import numpy as np

from backend.machine import describe_machine, peak_memory_mb, reset_peak
from backend.machine import resident_mb as now


def test_describes_in_json():
    said = describe_machine()
    assert json.loads(json.dumps(said)) == said
    assert said["cpu"]
    assert said["versions"]["numpy"] == np.__version__


def test_the_peak_is_seen_and_forgotten():
    reset_peak()
    before = peak_memory_mb()
    block = np.ones(64 * 2**20 // 8)
    assert now() >= 64
    del block
    grown = peak_memory_mb()
    assert grown > before + 50
    reset_peak()
    assert peak_memory_mb() <= grown
