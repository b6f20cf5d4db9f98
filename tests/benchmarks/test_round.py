from __future__ import annotations

from benchmarks.round import measure
from model.synthetic import render_clip


def test_every_step_of_a_round_has_its_seconds() -> None:
    clip = render_clip(6, (96, 72), 1)
    rows = measure(clip, [0, 5], {"method": "flow", "device": "cpu"}, processor=False)
    steps = [row.split("|")[1].strip() for row in rows if row.startswith("|")]
    assert steps == ["collect", "finetune", "propagate", "select", "publish", "**all**"]
    assert all(float(row.split("|")[2].strip(" *")) >= 0 for row in rows if row.startswith("|"))
    assert any(row.startswith("Peak memory") for row in rows)
