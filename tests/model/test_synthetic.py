"""The rendered clip: what it shows is exact, and the same every time."""

import cv2
import numpy as np
import pytest

from model.benchmark import open_labelled
from model.clip import FrameSource
from model.flow import DISFlow
from model.metrics import confusion, mean_iou
from model.propagate import nearest, propagate
from model.synthetic import DIFFICULTIES, render_clip, write_clip
from model.warp import identity_map, sample

SIZE = (160, 120)


@pytest.fixture(params=sorted(DIFFICULTIES))
def clip(request):
    return render_clip(12, SIZE, 3, request.param)


class TestEveryDifficulty:
    def test_is_a_frame_source(self, clip):
        assert isinstance(clip, FrameSource)
        assert len(clip) == 12
        frame = clip.read(4)
        assert (frame.shape, frame.dtype) == ((120, 160, 3), np.uint8)

    def test_masks_name_every_class_somewhere(self, clip):
        assert clip.class_names[0] == "background"
        assert len(clip.class_names) >= 5
        seen = set()
        for index in range(len(clip)):
            mask = clip.mask(index)
            assert (mask.shape, mask.dtype) == ((120, 160), np.uint8)
            seen |= set(np.unique(mask).tolist())
        assert seen == set(range(len(clip.class_names)))

    def test_same_arguments_same_bytes_in_any_order(self, clip):
        again = render_clip(12, SIZE, 3, clip.name.split("-")[1])
        for index in (9, 2, 9):
            assert again.read(index).tobytes() == clip.read(index).tobytes()
            assert again.mask(index).tobytes() == clip.mask(index).tobytes()
            assert again.flow(index).tobytes() == clip.flow(index).tobytes()

    def test_a_frame_does_not_depend_on_the_clips_length(self, clip):
        longer = render_clip(40, SIZE, 3, clip.name.split("-")[1])
        assert longer.read(7).tobytes() == clip.read(7).tobytes()

    def test_flow_leads_to_the_same_class(self, clip):
        for index in range(0, 11, 3):
            seen = clip.visible(index)
            ends = identity_map(120, 160) + clip.flow(index)
            there = sample(clip.mask(index + 1), ends, "nearest")
            # Not all: a point inside a toy may fall on a pixel whose centre is outside.
            assert (there == clip.mask(index))[seen].mean() > 0.97
            assert 0.5 < seen.mean() < 1

    def test_flow_there_and_back_is_none(self, clip):
        there, back = clip.flow(4, 7), clip.flow(7, 4)
        seen = clip.visible(4, 7)
        # Well inside what is seen, so that interpolation mixes no two motions.
        inner = cv2.erode(seen.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        mask, window = clip.mask(4), np.ones((9, 9))
        same = cv2.dilate(mask, window) == cv2.erode(mask, window)
        returned = there + sample(back, identity_map(120, 160) + there)
        error = np.linalg.norm(returned, axis=-1)[inner & same]
        assert error.size > 1000
        # Toys of one class may touch each other in a hard clip.
        assert np.percentile(error, 95) < 0.05

    def test_a_frame_flows_nowhere_to_itself(self, clip):
        np.testing.assert_allclose(clip.flow(5, 5), 0, atol=1e-4)
        assert clip.visible(5, 5).all()


def test_flow_matches_the_pictures():
    clip = render_clip(6, SIZE, 1, "easy")
    ends = identity_map(120, 160) + clip.flow(2)
    seen = clip.visible(2)
    now, then = clip.read(2).astype(float), clip.read(3)
    with_flow = np.abs(sample(then, ends).astype(float) - now)[seen].mean()
    without = np.abs(then.astype(float) - now)[seen].mean()
    assert with_flow < 0.35 * without


def test_masks_match_the_pictures_at_once():
    """A ball's colours end where its mask ends: the picture is drawn from the same outline."""
    clip = render_clip(3, (320, 240), 0, "easy")
    mask = clip.mask(0)
    edge = mask != np.roll(mask, 1, axis=1)
    steps = np.abs(clip.read(0).astype(float) - np.roll(clip.read(0), 1, axis=1)).mean(axis=2)
    assert steps[:, 1:][edge[:, 1:]].mean() > 3 * steps[:, 1:][~edge[:, 1:]].mean()


def test_seeds_differ():
    assert render_clip(1, SIZE, 0).read(0).tobytes() != render_clip(1, SIZE, 1).read(0).tobytes()


def test_hard_is_harder():
    def quality(difficulty):
        clip = render_clip(11, SIZE, 0, difficulty)
        keys = {0: clip.mask(0), 10: clip.mask(10)}
        flow = DISFlow()
        masks = [f.mask for f in propagate(clip, keys, len(clip.class_names), flow=flow)]
        return np.mean([masks[i] == clip.mask(i) for i in range(1, 10)])

    assert quality("hard") < quality("easy") - 0.02


def test_copying_is_far_worse_than_propagation_on_the_demos_clip():
    clip = render_clip(60, (320, 240), 0, "easy")
    count = len(clip.class_names)
    keys = {index: clip.mask(index) for index in (10, 30, 50)}

    def quality(results):
        counts = [confusion(clip.mask(r.index), r.mask, count) for r in results if not r.is_key]
        return mean_iou(np.sum(counts, axis=0))

    copied = quality(nearest(clip, keys, count))
    assert quality(propagate(clip, keys, count, flow=DISFlow("fast"))) > copied + 0.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, SIZE, 0, "easy"), "at least 1 frame, not 0"),
        ((1, (31, 120), 0, "easy"), "at least 32x32 pixels, not 31x120"),
        ((1, SIZE, -1, "easy"), "seed must be 0 or more, not -1"),
        ((1, SIZE, 0, "brutal"), "no difficulty 'brutal'; there are easy, hard"),
    ],
)
def test_refuses(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        render_clip(*arguments)


def test_frames_outside_the_clip():
    clip = render_clip(3, SIZE, 0)
    for call in (clip.read, clip.mask):
        with pytest.raises(IndexError, match="there is no frame 3; frames are 0 to 2"):
            call(3)
    with pytest.raises(IndexError):
        clip.read(-1)
    with pytest.raises(IndexError):
        clip.flow(2)


def test_written_clip_reads_back_as_it_was(tmp_path):
    clip = render_clip(3, (64, 48), 5)
    write_clip(clip, tmp_path / "clip")
    back = open_labelled(tmp_path / "clip")
    assert back.class_names == clip.class_names
    for index in range(3):
        np.testing.assert_array_equal(back.source.read(index), clip.read(index))
        np.testing.assert_array_equal(back.masks.read(index), clip.mask(index))
    flows = sorted((tmp_path / "clip" / "flow").iterdir())
    assert [path.name for path in flows] == ["00000.npy", "00001.npy"]
    np.testing.assert_array_equal(np.load(flows[1]), clip.flow(1))


def test_writing_does_not_touch_what_is_there(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="is there already; name an empty or a new folder"):
        write_clip(render_clip(1, SIZE, 0), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    write_clip(render_clip(1, SIZE, 0), tmp_path / "new", flow=False)
    assert not (tmp_path / "new" / "flow").exists()
