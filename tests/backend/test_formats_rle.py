from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.converter import brush
from PIL import Image

from backend.formats import FormatError, decode_rle, encode_rle

Mask = npt.NDArray[np.bool_]

masks = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: arrays(np.bool_, shape, elements=st.booleans())
)


@st.composite
def long_runs(draw: st.DrawFn) -> Mask:
    """Masks whose runs are as long as the code's fields, one less, one more."""
    lengths = draw(
        st.lists(
            st.sampled_from([1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 32768, 40000]),
            min_size=1,
            max_size=12,
        )
    )
    values = [(index + draw(st.integers(0, 1))) % 2 == 0 for index in range(len(lengths))]
    return np.repeat(values, lengths)[None, :]


def by_the_sdk(mask: Mask) -> list[int]:
    return list(brush.mask2rle(mask.astype(np.uint8) * 255))


@settings(deadline=None)
@given(masks | long_runs())
def test_the_same_bytes_as_the_sdk(mask: Mask) -> None:
    assert encode_rle(mask) == by_the_sdk(mask)


@settings(deadline=None)
@given(masks | long_runs())
def test_decoding_gives_the_mask_back(mask: Mask) -> None:
    np.testing.assert_array_equal(decode_rle(by_the_sdk(mask), *mask.shape), mask)


def as_the_screen_writes(values: npt.NDArray[np.uint8], cuts: list[int]) -> list[int]:
    """Tokens of runs and of single values, as the browser's encoder mixes them."""
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start, end in zip([0, *cuts], [*cuts, values.size], strict=True):
        part = values[start:end]
        length = part.size - 1
        field, size = next((i, s) for i, s in enumerate((3, 4, 8, 16)) if length < 1 << s)
        if (part == part[0]).all():
            bits += f"1{field:02b}{length:0{size}b}{part[0]:08b}"
        else:
            bits += f"0{field:02b}{length:0{size}b}" + "".join(f"{value:08b}" for value in part)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@st.composite
def screens(draw: st.DrawFn) -> tuple[list[int], tuple[int, int]]:
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    levels = st.sampled_from([0, 1, 64, 127, 128, 254, 255])
    values = draw(arrays(np.uint8, height * width * 4, elements=levels))
    cuts = draw(st.lists(st.integers(1, values.size - 1), max_size=12, unique=True).map(sorted))
    return as_the_screen_writes(values, cuts), (height, width)


@settings(deadline=None)
@given(screens())
def test_every_code_is_read_as_the_sdk_reads_it(screen: tuple[list[int], tuple[int, int]]) -> None:
    rle, (height, width) = screen
    expected = brush.decode_rle(rle).reshape(height, width, 4)[:, :, 3] > 127
    np.testing.assert_array_equal(decode_rle(rle, height, width), expected)


@settings(deadline=None)
@given(masks, st.data())
def test_a_code_that_is_cut_off_is_refused(mask: Mask, data: st.DataObject) -> None:
    rle = encode_rle(mask)
    # The last byte may hold nothing but padding.
    cut = data.draw(st.integers(0, len(rle) - 2))
    with pytest.raises(FormatError):
        decode_rle(rle[:cut], *mask.shape)


@given(st.binary(max_size=300), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_mask_or_refused(data: bytes, height: int, width: int) -> None:
    header = (height * width * 4).to_bytes(4, "big") + bytes([0x39, 0x1B, 0xF8])
    for rle in (list(data), list(header + data)):
        try:
            decoded = decode_rle(rle, height, width)
        except FormatError:
            continue
        assert decoded.shape == (height, width)


@pytest.mark.parametrize(
    ("rle", "sentence"),
    [
        (encode_rle(np.zeros((3, 4), bool)), "48 values; expected 16"),
        ([], "bytes"),
        ([0] * 7, "expected 16"),
        ("abcdefgh", "list of bytes"),
        (12, "list of bytes"),
        (None, "list of bytes"),
        (["a"] * 9, "numbers 0 to 255"),
        ([256] * 9, "numbers 0 to 255"),
        ([-1] * 9, "numbers 0 to 255"),
        ([1.5] * 9, "numbers 0 to 255"),
        ([255, 255, 255, 255, 0x39, 0x1B, 0xF8, 0xFF, 0xFF, 0xFF], "4294967295 values"),
        ([0, 0, 0, 16, 0x09, 0x1B, 0xF8, 0, 0], "words of 2 bits"),
        ([0] * 1000, "which no picture of its size has"),
    ],
)
def test_what_is_no_code_is_refused(rle: object, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        decode_rle(rle, 2, 2)  # type: ignore[arg-type]


@pytest.mark.timeout(30)
def test_claims_cost_nothing() -> None:
    """Runs of 65536 values without end, in a picture of 100×100."""
    header = (100 * 100 * 4).to_bytes(4, "big") + bytes([0x39, 0x1B, 0xF8])
    tracemalloc.start()
    with pytest.raises(FormatError):
        decode_rle([*header, *[0xFF] * 50_000], 100, 100)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 2, 4)])
def test_only_pictures_are_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        encode_rle(np.zeros(shape, dtype=bool))


def real_masks() -> list[Path]:
    root = Path(os.environ.get("MASKLOOP_DATA", Path(__file__).parents[3] / "shared" / "data"))
    return sorted(root.glob("*/*/masks/*.png"))[::60]


@pytest.mark.skipif(not real_masks(), reason="../shared/data is not here")
def test_real_masks_have_the_same_bytes_as_by_the_sdk() -> None:
    for path in real_masks():
        values = np.asarray(Image.open(path))
        for value in np.unique(values):
            mask = values == value
            rle = encode_rle(mask)
            assert rle == by_the_sdk(mask)
            np.testing.assert_array_equal(decode_rle(rle, *mask.shape), mask)
