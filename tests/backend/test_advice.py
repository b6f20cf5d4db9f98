"""What the status says of the quality to expect."""

import pytest

from backend.status import _advice

FRAME = {"task": 17, "clip": "street", "frame": 31}
CLIP = {"task": 4, "clip": "street", "frames_first": [12, 40]}


@pytest.mark.parametrize(
    ("expected", "upcoming", "advice"),
    [
        (0.96, [FRAME], "Expected mIoU 0.96: the target of 0.95 is reached."),
        (
            0.93,
            [FRAME],
            "Expected mIoU 0.93: below the target of 0.95; a label on frame 31 of clip 'street' "
            "(task 17) would help most.",
        ),
        (
            0.93,
            [CLIP],
            "Expected mIoU 0.93: below the target of 0.95; a label on frame 12 of clip 'street' "
            "(task 4) would help most.",
        ),
        (0.93, [], "Expected mIoU 0.93: every frame is labelled."),
        (None, [FRAME], None),
    ],
)
def test_the_advice_follows_from_what_is_expected(expected, upcoming, advice):
    assert _advice(expected, 0.95, upcoming) == advice
