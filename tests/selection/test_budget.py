import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.budget import Progress, expected_clicks, recommend, share


@pytest.mark.parametrize(
    ("need", "most", "budget", "expected"),
    [
        ([3, 1], [10, 10], 4, [3, 1]),
        ([100, 1], [10, 10], 4, [3, 1]),
        ([100, 1], [10, 10], 2, [1, 1]),
        ([5, 5, 0], [9, 9, 9], 4, [2, 2, 0]),
        ([5, 0], [2, 9], 6, [2, 4]),
        ([0, 0], [3, 3], 4, [2, 2]),
        ([1, np.nan], [3, 3], 4, [2, 2]),
        ([1, 1], [0, 3], 9, [0, 3]),
        ([], [], 3, []),
    ],
)
def test_share(need, most, budget, expected):
    assert share(need, most, budget).tolist() == expected


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_all_is_shared_and_nobody_gets_too_much(clips, budget):
    need, most = zip(*clips, strict=True)
    given_ = share(need, most, budget)
    assert given_.sum() == min(budget, sum(most))
    assert ((given_ >= 0) & (given_ <= most)).all()


@pytest.mark.parametrize(
    ("need", "most", "budget", "message"),
    [([1.0], [1, 2], 1, "clips"), ([-1.0], [1], 1, "0 or more"), ([1.0], [1], -1, "0 or more")],
)
def test_share_refuses(need, most, budget, message):
    with pytest.raises(ValueError, match=message):
        share(need, most, budget)


def rounds(*qualities, granularity="frame"):
    return [Progress(granularity, 100 * (n + 1), q) for n, q in enumerate(qualities)]


@pytest.mark.parametrize(
    ("history", "options", "action", "words"),
    [
        (rounds(0.8, 0.96), {}, "stop", "0.960.*target of 0.950 is reached"),
        (rounds(0.8, 0.9), {"clicks": 200}, "stop", "200 clicks are spent"),
        (rounds(0.8, 0.9), {}, "go on", "about 50 clicks more"),
        (rounds(0.8), {}, "go on", "0.800, the target is 0.950"),
        (rounds(np.nan), {}, "go on", "not known yet"),
        (rounds(0.9, 0.901, 0.9012), {}, "stop", "about what more labels can give"),
        (rounds(0.8, 0.85, 0.9), {}, "go on", "clicks more"),
        (
            rounds(0.8, 0.9),
            {"promise": {"frame": 1.0, "rectangle:16": 2.5}},
            "switch",
            "rectangle:16 .*2.5 times",
        ),
        (rounds(0.8, 0.9), {"promise": {"frame": 2.0, "rectangle:16": 2.5}}, "go on", "clicks"),
        (rounds(0.8, 0.9), {"promise": {"frame": 0.0, "superpixel:16": 2.5}}, "switch", "far more"),
        (rounds(0.8, 0.9), {"promise": {"rectangle:16": 2.5}}, "go on", "clicks more"),
    ],
)
def test_advice(history, options, action, words):
    advice = recommend(history, target=0.95, **options)
    assert advice.action == action

    assert re.search(words, advice.reason)
    assert advice.reason.endswith(".")


def test_advice_to_switch_names_what_to_label_next():
    advice = recommend(
        rounds(0.8, granularity="rectangle:16"),
        target=0.95,
        promise={"rectangle:16": 1, "frame": 9, "superpixel:16": np.nan},
    )
    assert (advice.action, advice.granularity) == ("switch", "frame")


@pytest.mark.parametrize(("history", "target"), [([], 0.9), (rounds(0.5), 1.2)])
def test_advice_needs_a_round_and_a_target(history, target):
    with pytest.raises(ValueError):
        recommend(history, target=target)


def test_expected_clicks_go_from_label_to_label():
    found = expected_clicks(range(7), [4, 2], [399, 99])
    assert found.tolist() == pytest.approx([99, 99, 99, 199, 399, 399, 399])
    assert np.isnan(expected_clicks([0, 1], [], [])).all()


@pytest.mark.parametrize(("labelled", "clicks"), [([1], [1, 2]), ([1], [-1])])
def test_expected_clicks_refuse(labelled, clicks):
    with pytest.raises(ValueError, match="0 or more"):
        expected_clicks([0], labelled, clicks)


def test_advice_to_stop_when_all_samples_are_labelled():
    history = [Progress("frame", 100, 0.8, samples=5), Progress("frame", 200, 0.9, samples=10)]
    assert recommend(history, target=0.95, samples=11).action == "go on"
    advice = recommend(history, target=0.95, samples=10)
    assert advice.action == "stop"
    assert "10 samples" in advice.reason
