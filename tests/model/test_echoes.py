import pytest

from model.echoes import Spot, merged, without_echoes


def _spot(frame, labelled, expected, odds, left=10, pixels=400):
    return Spot(frame, (left, 10, left + 20, 30), labelled, expected, pixels, 0.9, odds)


@pytest.mark.parametrize(
    ("spots", "kept"),
    [
        # Key frame 5 is wrong; 10 was predicted from it.
        ([_spot(5, 2, 1, 6.0), _spot(10, 1, 2, 2.0)], [5]),
        # The first frame is wrong.
        ([_spot(0, 2, 1, 5.0), _spot(5, 1, 2, 4.0)], [0]),
        # It is less likely by itself, but a part of it alone misleads its neighbour.
        ([_spot(0, 2, 1, 4.0), _spot(5, 1, 2, 5.0, pixels=100)], [0]),
        # Not neighbours; far apart; other classes.
        ([_spot(5, 2, 1, 6.0), _spot(15, 1, 2, 2.0)], [5, 15]),
        ([_spot(5, 2, 1, 6.0), _spot(10, 1, 2, 2.0, left=200)], [5, 10]),
        ([_spot(5, 2, 1, 6.0), _spot(10, 0, 2, 2.0)], [5, 10]),
    ],
)
def test_echoes_of_a_wrong_label_are_dropped(spots, kept):
    left = without_echoes(spots, [0, 5, 10, 15, 20])
    assert [spot.frame for spot in left] == kept


def test_of_two_key_frames_none_can_be_told_to_be_right():
    spots = [_spot(0, 2, 1, 6.0), _spot(5, 1, 2, 2.0)]
    assert without_echoes(spots, [0, 5]) == spots


def test_pieces_of_one_are_joined_and_weigh_as_much_as_the_likeliest():
    one = Spot(0, (10, 10, 30, 30), 1, 2, 300, 0.6, 1.0)
    other = Spot(0, (32, 10, 52, 30), 1, 2, 100, 1.0, 3.0)
    (both,) = merged([one, other])
    assert both == Spot(0, (10, 10, 52, 30), 1, 2, 400, pytest.approx(0.7), 3.0)


def test_other_classes_and_what_lies_across_a_corner_stay_apart():
    one = _spot(0, 1, 2, 1.0)
    across = Spot(0, (40, 40, 60, 60), 1, 2, 300, 0.9, 1.0)
    assert merged([one, _spot(0, 1, 3, 1.0, left=32)]) == [one, _spot(0, 1, 3, 1.0, left=32)]
    assert merged([one, across]) == [one, across]
