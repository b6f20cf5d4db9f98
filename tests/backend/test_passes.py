from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from backend.passes import appearances, propagated
from model.pipeline import ClipAnnotator
from model.synthetic import RenderedClip, render_clip


@pytest.fixture(scope="module")
def clip() -> RenderedClip:
    return render_clip(30, (160, 120), seed=1)


@pytest.fixture(scope="module")
def summaries(clip: RenderedClip):
    annotator = ClipAnnotator(clip, clip.class_names, method="flow")
    labels = {index: clip.mask(index) for index in (8, 16)}
    steps: list[tuple[int, int]] = []
    passed = list(propagated(annotator, clip, labels, lambda *step: steps.append(step)))
    assert steps[-1] == (30, 30)
    return passed


def test_every_frame_once_in_order_and_key_frames_certain(summaries) -> None:
    assert [result.index for result, _ in summaries] == list(range(30))
    certain = [result.index for result, summary in summaries if summary.uncertainty == 0]
    assert certain == [8, 16]


def test_uncertainty_follows_the_true_error(clip: RenderedClip, summaries) -> None:
    """Entropy does not: beyond the last key frame one source is left, which is sure of itself."""
    unlabelled = [(r, s) for r, s in summaries if not r.is_key]
    errors = [(r.mask != clip.mask(r.index)).mean() for r, _ in unlabelled]
    uncertainty = [s.uncertainty for _, s in unlabelled]
    assert spearmanr(errors, uncertainty).statistic > 0.7
    assert all(0 <= value <= 1 for value in uncertainty)


def test_confidences_are_given_for_the_classes_in_the_mask(summaries) -> None:
    for result, summary in summaries:
        assert set(summary.confidences) == {int(k) for k in np.unique(result.mask)}
        assert all(0 < value <= 1 for value in summary.confidences.values())


def test_features_before_any_label(clip: RenderedClip) -> None:
    annotator = ClipAnnotator(clip, clip.class_names, method="flow")
    features = appearances(annotator, clip)
    assert features.shape[0] == 30
    assert np.isfinite(features).all()
