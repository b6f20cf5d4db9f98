"""The pictures of a report."""

import re

import numpy as np

from backend.contact_sheet import colours, contact_sheet
from backend.scoring import Picture


def test_colours_are_told_apart():
    palette = colours(12).astype(int)
    distance = np.abs(palette[:, None] - palette[None]).sum(axis=2)
    assert distance[~np.eye(12, dtype=bool)].min() > 40


def test_no_pictures_no_sheet():
    assert contact_sheet(["a"], []) == ""


def test_the_background_is_not_tinted_but_a_first_class_is():
    flat = np.full((16, 16, 3), 128, np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    picture = Picture(3, 0.5, flat, mask, mask, "among the worst")
    street, toys = (
        contact_sheet(["sky", "road"], [picture]),
        contact_sheet(["background", "ball"], [picture]),
    )
    plain, truth = (re.findall(r"data:image/jpeg;base64,([^\"]+)", toys)[i] for i in (0, 1))
    assert plain == truth
    sky = re.findall(r"data:image/jpeg;base64,([^\"]+)", street)
    assert sky[0] != sky[1]
    assert "</i>background<" not in toys
    assert "</i>ball<" in toys
    assert "frame 3: mIoU 0.500, among the worst" in toys
