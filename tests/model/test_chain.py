import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from model.chain import Chain, Link, shelf
from model.warp import identity_map

SHAPE = (10, 14)


def _link(vector, confidence=1.0) -> Link:
    flow = np.broadcast_to(np.float32(vector), (*SHAPE, 2)).copy()
    return Link(flow, np.full(SHAPE, confidence, np.float32))


def test_a_chain_adds_up_flow_and_multiplies_confidence():
    chain = Chain.start(7, SHAPE).extend(_link((1, 0), 0.5)).extend(_link((0, 2), 0.5))
    assert chain.key == 7
    np.testing.assert_allclose(chain.flow, np.broadcast_to([1, 2], (*SHAPE, 2)))
    np.testing.assert_allclose(chain.confidence, 0.25)


def test_confidence_is_looked_up_where_the_pixel_comes_from():
    first = _link((0, 0))
    first.confidence[:, :5] = 0
    chain = Chain.start(0, SHAPE).extend(first).extend(_link((-3, 0)))
    assert (chain.confidence[:, :8] == 0).all()
    assert (chain.confidence[:, 8:] == 1).all()


def test_links_go_both_ways():
    class Shift:
        name = "shift"

        def flow(self, source, target, initial=None):
            return np.full((*SHAPE, 2), float(target[0, 0, 0]) - float(source[0, 0, 0]), np.float32)

    first, second = np.zeros((*SHAPE, 3), np.uint8), np.full((*SHAPE, 3), 2, np.uint8)
    there, back = Link.both(first, second, Shift())
    assert (there.flow == 2).all()
    assert (back.flow == -2).all()
    assert there.confidence[0, 0] == 1
    assert there.confidence[-1, -1] == 0


@pytest.mark.parametrize("memory", [0, 1000, 10**6])
def test_what_is_put_on_a_shelf_is_taken_back(memory):
    generator = np.random.default_rng(0)
    chains = {}
    for key in range(3):
        positions = identity_map(*SHAPE) + generator.normal(0, 20, (*SHAPE, 2)).astype(np.float32)
        chains[key] = Chain(key, positions, generator.random(SHAPE).astype(np.float32))
    with shelf(memory) as store:
        for key, chain in chains.items():
            store.put_chain(f"chain-{key}", chain)
        for key, chain in chains.items():
            back = store.take_chain(f"chain-{key}", key)
            assert back.key == key
            np.testing.assert_allclose(back.positions, chain.positions, atol=1 / 16)
            np.testing.assert_allclose(back.confidence, chain.confidence, atol=1e-3)
        with pytest.raises(KeyError):
            store.take("chain-0")


def test_room_is_freed(tmp_path, monkeypatch):
    files = []

    def temporary(**options):
        files.append((tmp_path / "file").open("w+b"))
        return files[-1]

    monkeypatch.setattr("model.chain.TemporaryFile", temporary)
    generator = np.random.default_rng(0)
    with shelf(1000) as store:
        for turn in range(3):
            store.put(f"a{turn}", np.zeros(1000, np.uint8))
            store.take(f"a{turn}")
        store.put("kept", np.zeros(1000, np.uint8))
        assert files == []
        for turn in range(9):
            many = [generator.integers(0, 256, (4, 100), np.uint8) for _ in range(3)]
            for part, array in enumerate(many):
                store.put(f"{turn}-{part}", array, array[:, ::2].astype(np.float32))
            for part, array in enumerate(many):
                first, second = store.take(f"{turn}-{part}")
                np.testing.assert_array_equal(first, array)
                np.testing.assert_array_equal(second, array[:, ::2])
        files[0].flush()
        assert (tmp_path / "file").stat().st_size == 3 * (400 + 800)
    assert [file.closed for file in files] == [True]


def test_nothing_is_left_of_a_process_that_is_killed(tmp_path):
    program = (
        "import os, signal, sys, numpy as np; from model.chain import shelf\n"
        "with shelf(0) as store:\n"
        "    store.put('a', np.zeros(100_000, np.uint8))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
