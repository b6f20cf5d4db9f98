"""Selection at scale: choosing among 10,000 frames, ranking 1,000,000 tasks.

    python -m benchmarks.selection [--frames 10000] [--tasks 1000000] [--budget 100]

Each row runs in a process of its own and gives its seconds, those of the processor (on a busy
machine the former are more), and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np


def choose(strategy: str, frames: int, budget: int) -> None:
    from selection.reach import Reach
    from selection.strategies import Candidates, get_strategy

    rng = np.random.default_rng(0)
    looks = np.cumsum(rng.standard_normal((frames, 128)).astype(np.float32), axis=0)
    candidates = Candidates(
        uncertainty=rng.random(frames),
        features=looks / np.linalg.norm(looks, axis=1, keepdims=True),
        positions=np.arange(frames),
        clips=np.zeros(frames, dtype=np.int64),
        labelled={0: []},
        clicks=rng.uniform(20, 200, frames),
        reach={0: Reach.from_confidence(rng.uniform(0.9, 1.0, frames - 1), span=96)},
    )
    measure(lambda: get_strategy(strategy).select(candidates, budget, 0))


def rank_all(tasks: int, budget: int) -> None:
    from selection.ranking import apart, rank, scores

    rng = np.random.default_rng(0)
    uncertainty = rng.random(tasks)
    positions, clips = np.arange(tasks) % 10_000, np.arange(tasks) // 10_000
    chosen = rng.permutation(tasks)[:budget]

    def work() -> None:
        order = apart(rank(chosen, uncertainty), positions, clips, annotators=3)
        assert len(scores(order)) == tasks

    measure(work)


def order_all(tasks: int, budget: int) -> None:
    from selection.ranking import order
    from selection.strategies import Candidates, get_strategy

    candidates = Candidates(
        uncertainty=np.full(tasks, np.nan),
        features=np.zeros((tasks, 1), dtype=np.float32),
        positions=np.arange(tasks) % 10_000,
        clips=np.arange(tasks) // 10_000,
    )
    measure(lambda: order(candidates, get_strategy("uniform"), budget))


def measure(work: Callable[[], object]) -> None:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, worked = time.perf_counter(), time.process_time()
    work()
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = {"seconds": seconds, "worked": worked}
    print(json.dumps({**row, "peak_mb": peak / 1024, "before_mb": base / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, nargs="*", default=[20, 1000])
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, count, budget = options.row[0], int(options.row[1]), int(options.row[2])
        work = {"rank": rank_all, "order before any label": order_all}.get(name)
        work(count, budget) if work else choose(name, count, budget)
        return
    from selection.strategies import STRATEGIES

    rows = [(name, options.frames, budget) for budget in options.budget for name in STRATEGIES]
    rows += [(name, options.tasks, 1000) for name in ("rank", "order before any label")]
    print("| what | of | choose | seconds | of the processor | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for name, count, budget in rows:
        command = [sys.executable, "-m", "benchmarks.selection", "--row", name]
        done = subprocess.run(
            [*command, str(count), str(budget)], capture_output=True, text=True, check=True
        )
        row = json.loads(done.stdout)
        took = f"{row['seconds']:.2f} | {row['worked']:.2f}"
        print(f"| {name} | {count:,} | {budget:,} | {took} | {row['peak_mb']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
