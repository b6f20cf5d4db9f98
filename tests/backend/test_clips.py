from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.clips import ClipIdentityError, FrameRef, identify, identify_clip


@pytest.mark.parametrize(
    ("data", "clip", "frame"),
    [
        ({"image": "x", "clip": "street", "frame": 12}, "street", 12),
        ({"image": "x", "clip": " a b ", "frame": "007"}, "a b", 7),
        ({"image": "x", "clip": 3, "frame": 4.0}, "3", 4),
        ({"image": "/data/local-files/?d=name_000012.png"}, "name", 12),
        ({"image": "/data/local-files/?d=folder/000012.jpg"}, "folder", 12),
        ({"image": "/data/local-files/?d=a%2Fb%2F000012.jpg"}, "a/b", 12),
        ({"image": "/data/local-files/?d=a/frame_000012.jpg"}, "a", 12),
        ({"image": "/data/local-files/?d=a/Image12.jpg"}, "a", 12),
        ({"image": "/data/local-files/?d=a/0016E5_07959.png"}, "a/0016E5", 7959),
        ({"image": "/data/local-files/?d=a%5Cb%5C3.png"}, "a/b", 3),
        ({"image": "/data/local-files/?d=fahrt%20%C3%BC-1/0001.png"}, "fahrt ü-1", 1),
        ({"image": "/data/upload/4/e95e6851-00000.png"}, "upload", 0),
        ({"image": "/data/upload/4/e95e6851-car_00031.png"}, "car", 31),
        ({"image": "/ls/data/upload/4/e95e6851-car-00031.png"}, "car", 31),
        ({"image": "/data/upload/4/12345678-99.png"}, "upload", 99),
        ({"image": "http://host/clips/one/0007.JPEG?sig=12#9"}, "clips/one", 7),
        ({"image": "s3://bucket/one/0007.jpg"}, "one", 7),
        ({"image": "/data/upload/4/e95e6851-x.png", "clip": "c", "frame": 0}, "c", 0),
        ({"image": "/data/local-files/?d=f/000012.jpg", "clip": "mine"}, "mine", 12),
        ({"image": "/data/local-files/?d=f/000012.jpg", "frame": 3}, "f", 3),
        ({"image": "/data/local-files/?d=f/000012.jpg", "clip": "", "frame": None}, "f", 12),
    ],
)
def test_which_frame_a_task_is(data: dict[str, Any], clip: str, frame: int) -> None:
    assert identify(data) == FrameRef(clip, frame)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "no picture under 'image'"),
        ({"image": ["a.png"]}, "no picture under 'image'"),
        ({"image": "/data/upload/1/e95e6851-cat.png"}, 'the clip and the frame.*"clip": "street"'),
        ({"image": "cat.png", "clip": "a"}, '"frame": 12'),
        ({"image": "000012.png"}, '"clip": "street"'),
        ({"image": "a/1.png", "clip": True}, '"clip" must be'),
        ({"image": "a/1.png", "clip": ["a"]}, '"clip" must be'),
        ({"image": "a/1.png", "frame": -1}, '"frame" must be'),
        ({"image": "a/1.png", "frame": 1.5}, '"frame" must be'),
        ({"image": "a/1.png", "frame": float("nan")}, '"frame" must be'),
        ({"image": "a/1.png", "frame": True}, '"frame" must be'),
        ({"image": "a/1.png", "frame": "9" * 40}, '"frame" must be'),
        ({"image": f"a/{'9' * 40}.png"}, "doesn't tell"),
        ({"image": "http://[::1/a.png"}, "no address"),
    ],
)
def test_what_cannot_be_told_is_said_plainly(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ClipIdentityError, match=sentence):
        identify(data)


def test_the_picture_may_have_another_key() -> None:
    assert identify({"frame_url": "/data/local-files/?d=a/2.png"}, "frame_url") == FrameRef("a", 2)


def test_clips_of_the_same_file_names_in_two_folders_stay_apart() -> None:
    one = identify({"image": "/data/local-files/?d=a/cam_01.png"})
    two = identify({"image": "/data/local-files/?d=b/cam_01.png"})
    assert one.clip != two.clip


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_address_is_told_or_refused(url: str) -> None:
    try:
        found = identify({"image": url})
    except ClipIdentityError:
        return
    assert found.clip
    assert found.frame >= 0


@settings(deadline=None)
@given(
    st.text(
        st.characters(
            codec="utf-8", exclude_categories=["Cc", "Cs", "Nd"], exclude_characters="/\\%?#"
        ),
        min_size=1,
        max_size=20,
    ).filter(lambda name: name.strip(" ._-") and name not in {".", ".."}),
    st.integers(0, 10**9),
)
def test_numbered_files_of_a_folder_are_its_frames(folder: str, number: int) -> None:
    from urllib.parse import quote

    url = f"/data/local-files/?d={quote(f'x{folder}/{number:06d}.png')}"
    assert identify({"image": url}).frame == number
    assert identify({"image": url}).clip == f"x{folder}"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"v": "/data/upload/3/e95e6851-street.mp4"}, "street"),
        ({"v": "/data/local-files/?d=a/street_01.mp4"}, "street_01"),
        ({"v": ["/data/local-files/?d=a/0001.png", "x"]}, "a"),
        ({"v": ["/data/upload/3/e95e6851-0001.png"]}, "task 7"),
        ({"v": ["/data/upload/3/e95e6851-car_0001.png"]}, "car"),
        ({"v": "x.mp4", "clip": "mine"}, "mine"),
        ({"v": []}, "task 7"),
        ({}, "task 7"),
    ],
)
def test_the_name_of_a_clip_that_is_a_task(data: dict[str, Any], name: str) -> None:
    assert identify_clip(data, "v", 7) == name
