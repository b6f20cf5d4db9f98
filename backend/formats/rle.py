"""Label Studio's run-length code of brush masks, written with numpy.

The code is a bit stream over the flattened RGBA picture: 32 bits number of values, 5 bits word size
less one, four times 4 bits size of a length field less one; then tokens of 1 bit (a run, or single
values), 2 bits which length field, the length less one, and the value once (run) or each (single
values). See `encode_rle` for the tokens that are written; all are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from backend.formats.errors import FormatError

__all__ = ["decode_rle", "encode_rle"]

_HEADER_BITS = 53
_CHANNELS = 4
_WORD_BITS = 8
# As the header says them: lengths up to 8, 16, 256 and 65536 values.
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST_RUN = 1 << 16
_MOST_VALUES = (1 << 32) - 1
# A value alone costs 14 bits at most in any code that a sane encoder writes.
_MOST_BITS_PER_VALUE = 14


def encode_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask, byte for byte as the SDK's ``brush.mask2rle`` of ``mask * 255``.

    Args:
        mask: (H, W) bool, or anything that is non-zero where the region is.

    Returns:
        Bytes as numbers 0..255.

    Raises:
        ValueError: When the mask isn't two-dimensional, is empty, or is too large for the code.

    Example:
        >>> len(encode_rle(np.ones((240, 320), dtype=bool)))
        24
    """
    flat = np.asarray(mask, dtype=bool)
    if flat.ndim != 2 or flat.size == 0 or flat.size * _CHANNELS > _MOST_VALUES:
        raise ValueError(f"Expected a mask of shape (height, width), got shape {flat.shape}.")
    flat = flat.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths: npt.NDArray[np.int64] = np.diff(ends, prepend=0).astype(np.int64) * _CHANNELS
    values: npt.NDArray[np.int64] = np.zeros(ends.size, dtype=np.int64)
    values[0 if flat[0] else 1 :: 2] = 255
    lengths, values, long = _split(lengths, values)
    # Remainders of split runs keep the long field, however short they are.
    field = np.where(long, 3, np.searchsorted([8, 16, 256], lengths))
    sizes = np.array(_LENGTH_BITS, dtype=np.int64)[field]
    tokens = (((4 + field) << sizes) | (lengths - 1)) << _WORD_BITS | values
    header = flat.size * _CHANNELS << 21 | (_WORD_BITS - 1) << 16
    for index, size in enumerate(_LENGTH_BITS):
        header |= (size - 1) << (12 - 4 * index)
    words = np.concatenate(([header >> 29, header & ((1 << 29) - 1)], tokens))
    widths = np.concatenate(([_HEADER_BITS - 29, 29], 3 + sizes + _WORD_BITS))
    return _pack(words, widths).tolist()  # type: ignore[no-any-return]


def decode_rle(rle: Sequence[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decode a mask: where the alpha channel is above 127.

    Time and memory are bounded by the length of the code and the size of the picture, whatever the
    code claims.

    Args:
        rle: Bytes as numbers 0..255.
        height: Of the picture.
        width: Of the picture.

    Returns:
        (H, W) bool.

    Raises:
        FormatError: When the code is no such code, is cut off, or is of another size.
    """
    data = _as_bytes(rle, height * width * _CHANNELS)
    count, length_bits = _read_header(data, height, width)
    bits = np.unpackbits(data)
    starts = _token_starts(bits, length_bits)
    window = _windows(data, starts)
    is_run = (window >> 39).astype(np.int64) & 1 == 1
    sizes = np.array(length_bits, dtype=np.int64)[(window >> 37).astype(np.int64) & 3]
    lengths = ((window >> (37 - sizes).astype(np.uint64)).astype(np.int64) & ((1 << sizes) - 1)) + 1
    ends = np.cumsum(lengths)
    last = int(np.searchsorted(ends, count))
    if last >= ends.size or ends[last] != count:
        got = int(ends[-1]) if ends.size else 0
        raise FormatError(
            f"the brush's RLE ends at another place than it says ({got} of {count} values); "
            "it is cut off or damaged"
        )
    kept = slice(0, last + 1)
    is_run, sizes, lengths, ends = is_run[kept], sizes[kept], lengths[kept], ends[kept]
    first_value = starts[kept] + 3 + sizes
    spent = first_value[-1] + _WORD_BITS * (1 if is_run[-1] else lengths[-1])
    if spent > bits.size:
        raise FormatError("the brush's RLE is cut off within its last values")
    values = _windows(data, first_value) >> 32
    # Pixel p's alpha is value 4 p + 3.
    pixel_ends = ends // _CHANNELS
    pixels = np.repeat(values > 127, np.diff(pixel_ends, prepend=0))
    if not is_run.all():
        _fill_singles(pixels, data, ~is_run, first_value, lengths, ends)
    return pixels.reshape(height, width)


def _split(
    lengths: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Split runs that no length field can hold; also says which tokens take the longest field."""
    if lengths.max() <= _LONGEST_RUN:
        return lengths, values, lengths > 256
    parts = (lengths - 1) // _LONGEST_RUN + 1
    split = np.full(int(parts.sum()), _LONGEST_RUN, dtype=np.int64)
    split[np.cumsum(parts) - 1] = lengths - (parts - 1) * _LONGEST_RUN
    return split, np.repeat(values, parts), np.repeat(lengths > 256, parts)


def _pack(words: npt.NDArray[np.int64], widths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Write words of up to 32 bits one after another; at least one zero bit follows the last."""
    ends = np.cumsum(widths)
    starts = ends - widths
    size = int(ends[-1]) // 8 + 1
    # Each word, shifted to its place within the five bytes that it may touch.
    placed = words << (40 - widths - (starts & 7))
    bytes_ = np.arange(5)[:, None]
    parts = (placed >> (32 - 8 * bytes_)) & 255
    # Words share bytes, never bits: adding is joining.
    packed = np.bincount(((starts >> 3) + bytes_).ravel(), parts.ravel(), minlength=size)
    return packed[:size].astype(np.uint8)


def _as_bytes(rle: Sequence[int], values: int) -> npt.NDArray[np.uint8]:
    if isinstance(rle, (str, int)) or not hasattr(rle, "__len__"):
        raise FormatError(f"the brush's RLE must be a list of bytes, got {type(rle).__name__}")
    longest = (_HEADER_BITS + _MOST_BITS_PER_VALUE * values) // 8 + 64
    if not _HEADER_BITS // 8 < len(rle) <= longest:
        raise FormatError(f"the brush's RLE has {len(rle)} bytes, which no picture of its size has")
    try:
        return np.frombuffer(bytes(rle), dtype=np.uint8)
    except (TypeError, ValueError):
        raise FormatError("the brush's RLE must be a list of numbers 0 to 255") from None


def _read_header(data: npt.NDArray[np.uint8], height: int, width: int) -> tuple[int, list[int]]:
    header = int.from_bytes(data[:7].tobytes(), "big") >> 3
    count, word_bits = header >> 21, (header >> 16 & 31) + 1
    if count != height * width * _CHANNELS:
        raise FormatError(
            f"the brush's RLE is of {count} values; expected {height * width * _CHANNELS} for a "
            f"picture of {width}×{height}"
        )
    if word_bits != _WORD_BITS:
        raise FormatError(f"the brush's RLE has words of {word_bits} bits; expected {_WORD_BITS}")
    return count, [(header >> (12 - 4 * index) & 15) + 1 for index in range(4)]


def _token_starts(bits: npt.NDArray[np.uint8], length_bits: list[int]) -> npt.NDArray[np.int64]:
    """Bit positions at which tokens start, up to the end of the code."""
    # The kind of token that would start at each bit; a run's is as long as its kind says.
    kinds = (bits[:-2] << 2) | (bits[1:-1] << 1) | bits[2:]
    steps = [0] * 4 + [3 + size + _WORD_BITS for size in length_bits]
    step_at = np.array(steps, dtype=np.uint8)[kinds].tobytes()
    kind_at, text = kinds.tobytes(), bits.tobytes()
    starts = []
    position, end = _HEADER_BITS, len(step_at)
    while position < end:
        starts.append(position)
        step = step_at[position]
        if not step:
            size = length_bits[kind_at[position]]
            length = 0
            for bit in text[position + 3 : position + 3 + size]:
                length = length << 1 | bit
            step = 3 + size + _WORD_BITS * (length + 1)
        position += step
    return np.array(starts, dtype=np.int64)


def _windows(
    data: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """The bits from each position on, the first of them bit 39; zeros after the end of data."""
    padded = np.concatenate((data, np.zeros(8, dtype=np.uint8)))
    first = np.minimum(positions >> 3, data.size)
    window = np.zeros(positions.size, dtype=np.uint64)
    for byte in range(5):
        window = window << np.uint64(8) | padded[first + byte]
    # Seven bits at most fall out at the front; the mask takes them away.
    shifted: npt.NDArray[np.uint64] = window << (positions & 7).astype(np.uint64)
    return shifted & np.uint64((1 << 40) - 1)


def _fill_singles(
    pixels: npt.NDArray[np.bool_],
    data: npt.NDArray[np.uint8],
    singles: npt.NDArray[np.bool_],
    first_value: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> None:
    """Put in the pixels whose alpha stands alone in the code."""
    begins = ends[singles] - lengths[singles]
    first_pixel, end_pixel = begins // _CHANNELS, ends[singles] // _CHANNELS
    counts = end_pixel - first_pixel
    which = np.repeat(np.arange(counts.size), counts)
    offsets = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
    pixel = first_pixel[which] + offsets
    value = pixel * _CHANNELS + 3 - begins[which]
    places = first_value[singles][which] + value * _WORD_BITS
    pixels[pixel] = (_windows(data, places) >> np.uint64(32)) > 127
