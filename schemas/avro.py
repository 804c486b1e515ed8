"""The few Avro encodings that vecferry writes and reads by hand, because they are on the hot path.

Source: Apache Avro 1.12 specification, "Binary Encoding": a long is its zigzag value in base 128, least significant
group first; a string is its length in bytes and then the bytes; an array is blocks of a count and that many items, and
a count of 0 ends it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DecodeError

MAX_LONG_BYTES = 10


def encode_long(value: int) -> bytes:
    """``value`` (int64) as an Avro int or long."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SHORT = tuple(encode_long(size) for size in range(4096))


def encode_size(size: int) -> bytes:
    """A length or a count; from a table when it is small."""
    return _SHORT[size] if size < len(_SHORT) else encode_long(size)


def encode_strings(texts: Sequence[bytes]) -> bytes:
    """An Avro array<string> of UTF-8 ``texts``, in one block."""
    if not texts:
        return b"\0"
    parts = [b""] * (2 * len(texts))
    parts[0::2] = [encode_size(len(text)) for text in texts]
    parts[1::2] = texts
    return b"".join((encode_size(len(texts)), *parts, b"\0"))


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """The Avro long at ``at`` and where it ends; DecodeError when it is cut off or wider than 64 bits."""
    value = 0
    for shift in range(0, 7 * MAX_LONG_BYTES, 7):
        if at >= len(data):
            raise DecodeError(f"the record ends inside a number, at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return (value >> 1) ^ -(value & 1), at
    raise DecodeError(f"a number wider than 64 bits, before byte {at}")


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """The Avro bytes (or string, undecoded) at ``at`` and where they end."""
    start, end = _span(data, at)
    return data[start:end], end


def read_view(data: bytes, at: int) -> tuple[memoryview, int]:
    """As :func:`read_bytes`, without a copy."""
    start, end = _span(data, at)
    return memoryview(data)[start:end], end


def _span(data: bytes, at: int) -> tuple[int, int]:
    size, at = read_long(data, at)
    if not 0 <= size <= len(data) - at:
        raise DecodeError(f"a length of {size} with {len(data) - at} bytes left, at byte {at}")
    return at, at + size


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """The Avro string at ``at`` and where it ends."""
    raw, end = read_bytes(data, at)
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise DecodeError(f"a string that is not UTF-8, at byte {at}: {error.reason}") from error


def read_strings(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The Avro array<string> at ``at``, undecoded, and where it ends; any legal blocks are accepted.

    Memory stays in proportion to ``data``: an item takes at least one byte there.
    """
    out: list[bytes] = []
    while True:
        count, at = read_long(data, at)
        if count == 0:
            return out, at
        if count < 0:
            _, at = read_long(data, at)
            count = -count
        if count > len(data) - at:
            raise DecodeError(f"a block of {count} strings with {len(data) - at} bytes left, at byte {at}")
        at = _read_block(data, at, count, out)


def _read_block(data: bytes, at: int, count: int, out: list[bytes]) -> int:
    # Lengths of one and two bytes are read in place: nearly all are, and a call per string would double the cost.
    last = len(data) - 1
    append = out.append
    for _ in range(count):
        if at >= last:  # the byte that ends the array comes behind every item
            raise DecodeError(f"a string is missing, at byte {at}")
        low = data[at]
        high = data[at + 1]
        if low & 1 or (low & high & 0x80):
            text, at = read_bytes(data, at)
            append(text)
            continue
        if low & 0x80:
            start, size = at + 2, (low & 0x7F | high << 7) >> 1
        else:
            start, size = at + 1, low >> 1
        end = start + size
        if end > last:
            raise DecodeError(f"a string of {size} bytes with {len(data) - start} left, at byte {start}")
        append(data[start:end])
        at = end
    return at
