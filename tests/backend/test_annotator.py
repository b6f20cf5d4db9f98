"""The settings' annotator."""

import pytest

from backend import annotator as module
from backend.annotator import annotator_for
from backend.settings import load_settings
from model.presets import MOST_SECONDS, seconds_for
from model.synthetic import render_clip


def test_is_as_the_settings_say():
    clip = render_clip(2, (64, 48), 0)
    settings = load_settings(
        method="flow", finetune_seconds=7.0, consistency=0.5, seed=3, device="cpu"
    )
    annotator = annotator_for(clip, clip.class_names, settings)
    assert (annotator.method, annotator.class_names) == ("flow", clip.class_names)
    assert (annotator.settings.seconds, annotator.settings.consistency) == (7.0, 0.5)
    assert (annotator.settings.seed, annotator.settings.device) == (3, "cpu")


def test_seconds_of_fine_tuning_go_by_the_length_of_the_clip():
    clips = [render_clip(frames, (64, 48), 0) for frames in (2, 80)]

    def seconds(**chosen):
        settings = load_settings(method="maskloop", **chosen)
        return [annotator_for(clip, clip.class_names, settings).settings.seconds for clip in clips]

    assert seconds() == [seconds_for(2), seconds_for(80)]
    assert seconds()[0] < seconds()[1] < MOST_SECONDS
    assert seconds(finetune_seconds=7) == [7, 7]
    assert seconds(preset="hvsa") == seconds(network="hub:x") == [MOST_SECONDS, MOST_SECONDS]


def test_refuses_a_flow_that_there_is_not():
    clip = render_clip(2, (64, 48), 0)
    with pytest.raises(ValueError, match="there is no flow named 'river'"):
        annotator_for(clip, clip.class_names, load_settings(flow="river"))


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("method", ["flow", "maskloop"])
def test_a_thread_works_ahead_where_there_is_a_second_core(monkeypatch, method, cores):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    clip = render_clip(2, (64, 48), 0)
    annotator = annotator_for(clip, clip.class_names, load_settings(method=method))
    assert annotator.propagation.ahead == annotator.settings.ahead == (cores == 2)
    assert (annotator.propagation.matching is not None) == (method == "maskloop")
