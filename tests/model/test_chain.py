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
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = np.zeros(1000, np.uint8)
    with shelf(1000) as store:
        for turn in range(3):
            store.put(f"a{turn}", array)
            store.take(f"a{turn}")
        store.put("kept", array)
        assert list(tmp_path.rglob("*.npy")) == []
        store.put("filed", array)
        assert len(list(tmp_path.rglob("*.npy"))) == 1
        np.testing.assert_array_equal(store.take("filed")[0], array)
        assert list(tmp_path.rglob("*.npy")) == []
    assert list(tmp_path.iterdir()) == []
