import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.reach import Reach


def matches(frames, span, points=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((frames, 2 * span + 1, points)).astype(np.float32)


def served(rows, t, labelled, span):
    """How well frame t is explained by its two labelled neighbours, point by point."""
    parts = []
    for near in (
        max((k for k in labelled if k < t), default=None),
        min((k for k in labelled if k > t), default=None),
    ):
        if near is not None and abs(near - t) <= span:
            parts.append(rows[t, span + near - t] * np.exp(-abs(near - t) / 500))
    return float(np.max(parts, axis=0).mean()) if parts else 0.0


@given(st.integers(2, 9), st.integers(0, 3), st.data())
def test_the_loss_is_what_is_not_found_again(frames, seed, data):
    rows = matches(frames, frames - 1, seed=seed)
    reach = Reach.from_matches(rows, frames)
    labelled = data.draw(st.sets(st.integers(0, frames - 1)))
    expected = sum(
        1 - served(rows, t, labelled, frames - 1) for t in range(frames) if t not in labelled
    )
    assert reach.loss(labelled) == pytest.approx(expected, abs=1e-4)


def test_gaps_beyond_the_span_count_the_middle_as_lost():
    rows = np.ones((40, 9, 1), dtype=np.float32)
    reach = Reach.from_matches(rows, 40)
    found = sum(np.exp(-n / 500) for n in range(1, 3))
    assert reach.gaps(0, 39) == pytest.approx(38 - 2 * found, abs=1e-4)
    assert reach.gaps(-1, 39) == pytest.approx(39 - sum(np.exp(-n / 500) for n in range(1, 5)))
    assert reach.gaps(-1, 40) == 40


def test_gain_is_the_loss_that_goes():
    reach = Reach.from_matches(matches(8, 7), 8)
    gains = reach.gain([2, 3, 4], 1, 6)
    for frame, gain in zip([2, 3, 4], gains, strict=True):
        assert gain == pytest.approx(reach.loss([1, 6]) - reach.loss([1, frame, 6]), abs=1e-5)


def test_rows_of_bytes_mean_the_same():
    rows = (matches(6, 5) * 255).astype(np.uint8)
    one, other = Reach.from_matches(rows, 6), Reach.from_matches(rows / np.float32(255), 6)
    assert np.allclose(one.between, other.between, atol=1e-6)


def test_confidences_multiply_along_the_way():
    reach = Reach.from_confidence([0.5, 0.5, 0.5], span=3)
    aged = [np.exp(-n / 500) for n in range(4)]
    assert reach.loss([0]) == pytest.approx(
        3 - 0.5 * aged[1] - 0.25 * aged[2] - 0.125 * aged[3], abs=1e-5
    )


def test_a_broken_link_is_a_wall():
    confidence = np.full(20, 0.99)
    confidence[9] = 0.0
    reach = Reach.from_confidence(confidence, span=20)
    assert reach.loss([4, 15]) < reach.loss([4, 8]) - 5
    assert Reach.from_confidence([np.nan, 1.0], span=2).loss([0]) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reach.from_matches(matches(5, 2), 4), "more rows than the 4"),
        (lambda: Reach.from_matches(matches(5, 2), 6), "each of 6 frames; got 5"),
        (lambda: Reach.from_matches(np.zeros((2, 4, 1)), 2), r"\(2S \+ 1, P\)"),
        (lambda: Reach.from_confidence(np.zeros((2, 2))), r"frames - 1"),
        (lambda: Reach.from_confidence([0.5], span=0), "span 1 or more"),
        (lambda: Reach(*[np.zeros((3, n), np.float32) for n in (4, 4, 5)]), "one shape"),
    ],
)
def test_wrong_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips(frames):
    assert Reach.from_time(frames).loss([0]) < frames


def noisy(frames, span=96, seed=0, low=0.5):
    rng = np.random.default_rng(seed)
    return Reach.from_confidence(rng.uniform(low, 1.0, frames - 1), span)


def test_evened_by_nothing_it_is_as_it_was():
    reach = noisy(40)
    same = reach.evened(0)
    for name in ("between", "before", "after"):
        np.testing.assert_array_equal(getattr(same, name), getattr(reach, name))


def test_evened_altogether_gaps_of_one_length_are_alike():
    reach, frames = noisy(30), 30
    even = reach.evened(1)
    for length in (2, 7, 29):
        ends = np.arange(length, frames)
        was = reach.gaps(ends - length, ends)
        assert even.gaps(ends - length, ends) == pytest.approx(np.full(len(ends), was.mean()))
        starts = np.arange(length)  # the frames after one labelled frame, up to the clip's end
        assert even.gaps(-1, length) == pytest.approx(reach.before[length:, length].mean(), 1e-5)
        assert even.gaps(starts, frames).shape == starts.shape


def test_evened_in_part_it_lies_between():
    reach = noisy(30)
    half = reach.evened(0.5)
    both = (reach.between + reach.evened(1).between) / 2
    assert np.allclose(half.between, both, atol=1e-5)


def test_stretches_far_apart_are_not_evened_out():
    frames, span = 300, 20
    sure = np.full(frames - 1, 0.99)
    sure[150:] = 0.7
    reach = Reach.from_confidence(sure, span)
    even = reach.evened(1)
    for end in (100, 250):
        assert even.gaps(end - 10, end) == pytest.approx(reach.gaps(end - 10, end), rel=1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_refuses_a_share_that_is_none(share):
    with pytest.raises(ValueError, match="share must be 0 to 1"):
        noisy(5).evened(share)
