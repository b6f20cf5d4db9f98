"""Pictures of a report: image, truth, ours and error, side by side, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import numpy.typing as npt

from backend.scoring import Picture
from model.metrics.regions import VOID

__all__ = ["colours", "contact_sheet"]


def colours(count: int) -> npt.NDArray[np.uint8]:
    """A colour for each class index, (count, 3) uint8 RGB; the first is for class 0."""
    hues = (np.arange(count) * 0.381966) % 1.0  # The golden section keeps neighbours apart.
    light = np.where(np.arange(count) % 2 == 0, 235, 170)
    hsv = np.stack([hues * 179, np.full(count, 190), light], axis=-1)[None].astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.uint8)


def contact_sheet(class_names: Sequence[str], pictures: Sequence[Picture]) -> str:
    """Rows of image, truth, ours and error, with a legend."""
    if not pictures:
        return ""
    palette = colours(len(class_names))
    plain = class_names[0] == "background"
    shown = list(zip(class_names, palette.tolist(), strict=True))[int(plain) :]
    legend = "".join(
        f'<span><i style="background:rgb({r},{g},{b})"></i>{escape(name)}</span>'
        for name, (r, g, b) in shown
    )
    rows = []
    for picture in pictures:
        miou = "–" if picture.miou is None else f"{picture.miou:.3f}"
        why = f", {picture.why}" if picture.why else ""
        tiles = (
            picture.image,
            _overlay(picture.image, picture.truth, palette, plain),
            _overlay(picture.image, picture.predicted, palette, plain),
            _errors(picture),
        )
        rows.append(
            '<div class="row">'
            + "".join(f'<img alt="" src="{_data_url(tile)}">' for tile in tiles)
            + f"<p>frame {picture.index}: mIoU {miou}{escape(why)}</p></div>"
        )
    return (
        '<div class="sheet"><div class="row head"><b>image</b><b>truth</b><b>ours</b>'
        f'<b>error</b></div>{"".join(rows)}<p class="legend">{legend}'
        '<span><i style="background:rgb(214,30,60)"></i>wrong</span></p></div>'
    )


def _overlay(
    image: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    palette: npt.NDArray[np.uint8],
    plain: bool,
) -> npt.NDArray[np.uint8]:
    """The image tinted by class, boundaries drawn; void stays as it is, and a plain class 0."""
    known = ((mask < len(palette)) & ((mask > 0) | (not plain)))[..., None]
    tint = palette[np.minimum(mask, len(palette) - 1)]
    out = np.where(known, image * 0.45 + tint * 0.55, image)
    window = np.ones((3, 3), np.uint8)
    out[cv2.dilate(mask, window) != cv2.erode(mask, window)] = 255
    return np.asarray(out, np.uint8)


def _errors(picture: Picture) -> npt.NDArray[np.uint8]:
    """Grey, with what is wrong in red; void is darker."""
    grey = np.asarray(cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY), np.float64)
    out = np.repeat((grey * 0.5 + 110)[..., None], 3, axis=2)
    void = picture.truth == VOID
    out[void] *= 0.6
    out[(picture.truth != picture.predicted) & ~void] = (214, 30, 60)
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def _data_url(image: npt.NDArray[np.uint8]) -> str:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
