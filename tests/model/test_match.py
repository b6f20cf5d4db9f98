import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.keyframes import lab
from model.match import OFFSETS, MatchSettings, Source, match, patch_differences, vote
from model.warp import identity_map, sample

HEIGHT, WIDTH = 60, 80


def _image(mask: np.ndarray) -> np.ndarray:
    """Classes in distinct colours, with a little texture."""
    colours = np.array([(60, 90, 60), (200, 60, 50), (60, 80, 210), (220, 220, 90)], np.uint8)
    noise = np.random.default_rng(0).integers(0, 12, (*mask.shape, 3), dtype=np.uint8)
    return lab(colours[mask] + noise)


def _mask(left: int, top: int = 20, label: int = 1) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + 20, left : left + 24] = label
    return mask


def _source(mask: np.ndarray, shift=(0, 0), confidence=1.0, weight=1.0, margin=None) -> Source:
    positions = identity_map(HEIGHT, WIDTH) + np.float32(shift)
    trust = np.full((HEIGHT, WIDTH), confidence, np.float32)
    return Source(mask, margin, _image(mask), positions, trust, weight)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_probabilities_of_a_perfect_warp(count):
    mask = _mask(30)
    out = match(_image(mask), [_source(mask)], count, MatchSettings())
    assert out.shape == (count, HEIGHT, WIDTH)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(out.argmax(axis=0), mask)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("error", [(2, 0), (-3, 1), (0, 5)])
def test_a_warp_that_is_off_by_some_pixels_is_put_right(count, error):
    mask = _mask(30)
    wrong = _source(mask, error, confidence=0.3)
    out = match(_image(mask), [wrong], count, MatchSettings()).argmax(axis=0)
    warped = cv2.warpAffine(mask, np.float32([[1, 0, -error[0]], [0, 1, -error[1]]]), (80, 60))
    assert np.mean(out != mask) < 0.2 * np.mean(warped != mask)


def test_the_less_sure_a_source_the_further_it_looks():
    mask = _mask(30)
    frame = _image(mask)
    errors = [
        np.mean(match(frame, [_source(mask, (6, 0), c)], 2, MatchSettings()).argmax(axis=0) != mask)
        for c in (0.0, 1.0)
    ]
    assert errors[0] < errors[1]


def test_the_surer_and_the_heavier_source_wins():
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)

    def result(**better):
        first, second = _mask(20, label=1), _mask(20, label=2)
        sources = [
            Source(m, None, grey, identity_map(HEIGHT, WIDTH), np.full_like(c, v), w)
            for m, v, w, c in (
                (first, 0.2, 0.2, np.zeros((HEIGHT, WIDTH), np.float32)),
                (
                    second,
                    better.get("c", 0.2),
                    better.get("w", 0.2),
                    np.zeros((HEIGHT, WIDTH), np.float32),
                ),
            )
        ]
        return match(grey, sources, 3, MatchSettings())[:, 30, 30]

    assert result(c=0.9)[2] > 0.6
    assert result(w=0.9)[2] > 0.6
    np.testing.assert_allclose(result()[1:], 0.5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 4])
def test_a_source_without_margin_has_no_say(count):
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    flat = identity_map(HEIGHT, WIDTH)
    sure = np.ones((HEIGHT, WIDTH), np.float32)
    doubtful = Source(_mask(20), np.zeros_like(sure), grey, flat, sure, 1.0)
    other = Source(_mask(60), np.ones_like(sure), grey, flat, sure, 0.01)
    out = match(grey, [doubtful, other], count, MatchSettings()).argmax(axis=0)
    assert out[30, 30] == 0
    assert out[30, 68] == 1


def test_where_nothing_is_contested_the_class_is_certain():
    mask = np.full((HEIGHT, WIDTH), 2, np.uint8)
    out = match(_image(mask), [_source(mask)], 4, MatchSettings())
    np.testing.assert_array_equal(out[2], 1)


def test_a_table_of_votes_holds_the_probabilities_of_each_side():
    sources = [[_source(_mask(30), (1, 0), 0.7)], [_source(_mask(26, label=2), confidence=0.4)]]
    votes = vote(_image(_mask(30)), sources, 3, MatchSettings())
    rows = votes.rows().reshape(HEIGHT, WIDTH)
    for side in range(2):
        np.testing.assert_array_equal(votes.table(side)[:, rows], votes.probabilities(side))


def test_one_class_and_a_tiny_image():
    mask = np.zeros((1, 3), np.uint8)
    image = np.zeros((1, 3, 3), np.uint8)
    trust = np.ones((1, 3), np.float32)
    source = Source(mask, None, image, identity_map(1, 3), trust, 1.0)
    np.testing.assert_array_equal(match(image, [source], 1, MatchSettings()), 1)


def _plainly(
    frame: np.ndarray, sides: list[list[Source]], count: int, how: MatchSettings
) -> np.ndarray:
    """The formula of `model.match` at every pixel, one offset after another; (K, H, W)."""
    scale = np.array([np.sqrt(0.5) * 100 / 255 * 4, 4, 4])
    votes = np.zeros((count, HEIGHT, WIDTH))
    for source in (source for side in sides for source in side):
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        image = sample(source.lab, source.positions).astype(int)
        classes = sample(source.mask, source.positions, "nearest")
        share = np.ones((HEIGHT, WIDTH)) if source.margin is None else source.margin
        lead = sample(np.float32(source.mask * 2.0 - 1) * np.float32(share), source.positions)
        share = sample(np.float32(share), source.positions)
        for x, y in OFFSETS:
            at = (rows + y).clip(0, HEIGHT - 1), (columns + x).clip(0, WIDTH - 1)
            apart = np.minimum(np.rint(np.abs(frame - image[at]) @ scale), 255).astype(np.uint8)
            apart = cv2.blur(apart, (3, 3)) / 4
            radius = how.radius + how.search * (1 - source.confidence)
            weight = (source.confidence + how.confidence_floor) * source.weight
            weight = weight * (np.exp(-apart / how.colour) + how.colour_floor)
            weight = weight * np.exp(-0.5 * (x * x + y * y) / radius**2)
            if count == 2:
                votes[0] += weight * (np.abs(lead[at]) - lead[at]) / 2
                votes[1] += weight * (np.abs(lead[at]) + lead[at]) / 2
            else:
                for label in range(count):
                    votes[label] += weight * share[at] * (classes[at] == label)
    return votes / votes.sum(axis=0)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_votes_are_those_of_the_plain_formula(count, seed, monkeypatch):
    monkeypatch.setattr("model.match._CHUNK", 700)
    generator = np.random.default_rng(seed)

    def smooth(*shape: int) -> np.ndarray:
        rough = generator.normal(0, 1, (HEIGHT, WIDTH, *shape)).astype(np.float32)
        return cv2.GaussianBlur(rough, (0, 0), 4) * 8

    def source(weight: float, margin: bool, known: bool) -> Source:
        mask = smooth(count).argmax(axis=2).astype(np.uint8)
        colours = lab(np.clip(128 + 90 * smooth(3), 0, 255).astype(np.uint8))
        positions = identity_map(HEIGHT, WIDTH) + 3 * smooth(2)
        return Source(
            mask,
            np.abs(smooth()).clip(0, 1) if margin else None,
            colours,
            positions,
            generator.random((HEIGHT, WIDTH), np.float32),
            weight,
            sample(colours, positions) if known else None,
            sample(mask, positions, "nearest") if known else None,
        )

    frame = lab(np.clip(128 + 90 * smooth(3), 0, 255).astype(np.uint8))
    sides = [[source(1.0, False, True), source(1.0, False, False)], [source(0.1, True, False)]]
    votes = vote(frame, sides, count, MatchSettings())
    voted = np.zeros((HEIGHT, WIDTH), bool)
    voted.ravel()[votes.places] = True
    # At the rim of the voted pixels' box the plain formula sees more of the frame.
    inner = voted & (cv2.erode(voted.astype(np.uint8), np.ones((5, 5))) > 0)
    assert inner.mean() > 0.5
    expected = _plainly(frame.astype(int), sides, count, MatchSettings())
    np.testing.assert_allclose(votes.probabilities()[:, inner], expected[:, inner], atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 30, 255]))
def test_patches_are_compared_as_a_weighted_sum_of_channels_would(seed, spread):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, spread + 1, (2, 9, 12, 3), dtype=np.uint8)
    weights = np.array([[np.sqrt(0.5) * 100 / 255 * 4, 4, 4]], np.float32)
    padded = cv2.copyMakeBorder(images[1], 6, 6, 6, 6, cv2.BORDER_REPLICATE)
    found = patch_differences(images[0], images[1])
    for (x, y), difference in zip(OFFSETS, found, strict=True):
        there = padded[6 + y : 15 + y, 6 + x : 18 + x]
        plain = cv2.blur(cv2.transform(cv2.absdiff(images[0], there), weights), (3, 3))
        np.testing.assert_array_equal(difference, plain)
