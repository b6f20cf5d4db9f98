from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.distributed import Crew, joined

_ROOT = Path(__file__).parents[2]

_PROGRAM = """
import sys
import torch
from dataclasses import replace
from model.distributed import joined
from model.finetune import finetune
from model.flow import DISFlow
from model.networks import build
from model.presets import FinetuneSettings
from tests.model.moving import MovingClip

torch.set_num_threads(1)
with joined() as place:
    torch.manual_seed(0)
    network = build("compact", 3, widths=[8, 8, 8, 8])
    clip, told = MovingClip(), []
    keys = {index: clip.mask(index) for index in (0, 6, 11)}
    settings = FinetuneSettings(epochs=2, steps_per_epoch=3)
    settings = replace(settings, device=place.device)
    report = finetune(
        network, clip, keys, flow=DISFlow("ultrafast"), settings=settings, progress=told.append
    )
    weights = torch.cat([value.flatten().cpu() for value in network.state_dict().values()])
    kept = (place.rank, place.size, report.steps, len(told), weights)
    torch.save(kept, f"{sys.argv[1]}/{place.rank}.pt")
"""


def _torchrun(folder: Path, processes: int) -> list[tuple[int, int, int, int, torch.Tensor]]:
    folder.mkdir()
    (folder / "program.py").write_text(_PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, f"--nproc-per-node={processes}", str(folder / "program.py"), str(folder)],
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    first, second = _torchrun(tmp_path / "two", 2)
    assert [(rank, size) for rank, size, *_ in (first, second)] == [(0, 2), (1, 2)]
    assert first[2] == second[2] == 6
    assert (first[3], second[3]) == (2, 0)  # only the first process reports
    assert torch.equal(first[4], second[4])
    assert torch.isfinite(first[4]).all()
    (alone,) = _torchrun(tmp_path / "one", 1)
    assert not torch.equal(alone[4], first[4])  # the second process's frames count
    again = _torchrun(tmp_path / "again", 2)
    assert torch.equal(again[0][4], first[4])


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as place:
        assert (place.rank, place.size, place.first) == (0, 1, True)
        assert not torch.distributed.is_initialized()


def test_a_crew_of_one_decides_by_itself() -> None:
    crew, network = Crew(torch.device("cpu")), torch.nn.Linear(1, 1)
    assert crew.first
    assert crew.seed(5) == 5
    assert crew.wrap(network) is network  # type: ignore[arg-type, comparison-overlap]
    assert crew.decided(7) == 7
    assert crew.all(torch.tensor(True))
    assert not crew.all(torch.tensor(False))
