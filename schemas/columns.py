"""Reads one field of many byte strings at once: Avro decoding, column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.?)*"?', re.DOTALL)
_OPENING = np.frombuffer(b"{[", np.uint8)
_CLOSING = np.frombuffer(b"}]", np.uint8)

_WIDEST_SHIFT = 56  # nine groups of seven bits; the strict decoder reads wider numbers


class Cursor:
    """One cursor into each of n ``texts``, all moved together. ``ok[i]`` turns False when text i is not as expected.

    No cursor ever reads outside the joined texts, whatever they hold. A cursor may run into the next text, so results
    count only after :meth:`finish`. Cursors only move forward, so one that finishes at the end of its text never left
    it; :meth:`finish` turns ``ok`` False for all others.
    """

    __slots__ = ("_at", "_data", "_last", "_starts", "ok")

    def __init__(self, texts: Sequence[bytes]) -> None:
        sizes = lengths(texts)
        ends = np.cumsum(sizes)
        self._starts = ends - sizes
        self._data = np.frombuffer(b"".join((*texts, b"\0")), np.uint8)
        self._last = len(self._data) - 1
        self._at = self._starts.copy()
        self.ok = np.ones(len(texts), np.bool_)

    def number(self, among: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Read an Avro int or long where ``among`` is True; 0 elsewhere."""
        value = np.zeros(len(among), np.int64)
        more = among
        for shift in range(0, _WIDEST_SHIFT + 1, 7):
            group = self._data[np.minimum(self._at, self._last)]
            value |= np.where(more, group & 0x7F, 0).astype(np.int64) << shift
            self._at += more
            more = more & (group > 0x7F)
            if not more.any():
                return (value >> 1) ^ -(value & 1)
        self.ok &= ~more
        return (value >> 1) ^ -(value & 1)

    def string(
        self, among: NDArray[np.bool_], shortest: int, longest: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read an Avro string where ``among`` is True: its start and end, counted from the start of its text."""
        size = self.number(among)
        self.ok &= ~among | ((size >= shortest) & (size <= longest))
        size[~self.ok] = 0
        start = self._at - self._starts
        self._at += size
        return start, start + size

    def bytes_at(self, offset: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The byte at ``offset`` of each text."""
        found: NDArray[np.uint8] = self._data[np.clip(self._starts + offset, 0, self._last)]
        return found

    def finish(self) -> None:
        """Set ``ok`` to False for every cursor that is not at the end of its text."""
        ends = np.append(self._starts[1:], self._last)
        self.ok &= self._at == ends


def lengths(texts: Sequence[bytes]) -> NDArray[np.int64]:
    """Bytes of each text."""
    return np.fromiter(map(len, texts), np.int64, len(texts))


def slices(texts: Sequence[bytes], start: NDArray[np.int64], end: NDArray[np.int64]) -> list[bytes]:
    """``texts[i][start[i]:end[i]]`` for all i."""
    return [text[a:b] for text, a, b in zip(texts, start.tolist(), end.tolist(), strict=True)]


def vectors_before_last(texts: list[bytes], dimension: int, among: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [n, dimension]: the vector that ends before the last byte of each text; zeros where ``among`` is False.

    Each text of ``among`` must be longer than its vector. Copies every vector once.
    """
    size = 4 * dimension
    zeros = bytes(size)
    tails = [text[-1 - size : -1] if here else zeros for text, here in zip(texts, among.tolist(), strict=True)]
    joined = bytearray().join(tails)
    return np.frombuffer(joined, "<f4").astype(np.float32, copy=False).reshape(len(texts), dimension)


def same(left: list[bytes], right: Sequence[bytes | None]) -> NDArray[np.bool_]:
    """Where both lists hold equal values."""
    if left == right:
        return np.ones(len(left), np.bool_)
    return np.fromiter((a == b for a, b in zip(left, right, strict=True)), np.bool_, len(left))


def are_utf8(texts: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which texts are UTF-8. Texts joined by an ASCII byte are valid UTF-8 exactly if each text is."""
    joined = b"\n".join(texts)
    if joined.isascii() or _is_utf8(joined):
        return np.ones(len(texts), np.bool_)
    return np.fromiter(map(_is_utf8, texts), np.bool_, len(texts))


def are_ids(texts: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which texts can be ids: UTF-8 without NUL."""
    if b"\0" not in b"\n".join(texts):
        return are_utf8(texts)
    return are_utf8(texts) & np.fromiter((b"\0" not in text for text in texts), np.bool_, len(texts))


def are_shallow(texts: Sequence[bytes], levels: int) -> NDArray[np.bool_]:
    """Which texts nest at most ``levels`` objects and arrays. Of a text that is not JSON, its valid beginning counts.

    A text is examined alone only if a count of all brackets cannot decide for all texts at once.
    """
    shortest = 2 * levels
    # Most texts begin with one bracket. If all other brackets of all texts are fewer than ``levels``, no text can nest
    # deeper. This nearly always decides.
    joined = b"".join(texts)
    spare = joined.count(b"{") + joined.count(b"[") - [text[:1] for text in texts].count(b"{")
    if spare < levels:
        return np.ones(len(texts), np.bool_)
    return np.fromiter(
        (
            len(text) <= shortest or text.count(b"{") + text.count(b"[") <= levels or _depth(text) <= levels
            for text in texts
        ),
        np.bool_,
        len(texts),
    )


def decode_ids(texts: Sequence[bytes]) -> list[str]:
    """The ids in ``texts``, decoded in one call. Every text must be UTF-8 without NUL."""
    return b"\0".join(texts).decode().split("\0") if texts else []


def all_finite(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of ``vectors`` (float32 [n, d]) hold only finite values."""
    # If the sum of squares is finite, every element is: one pass without a temporary nearly always decides.
    flat = vectors.reshape(-1)
    if math.isfinite(np.vdot(flat, flat)):  # dot would warn of an overflow
        return np.ones(len(vectors), np.bool_)
    return np.asarray(np.isfinite(vectors).all(axis=1), np.bool_)


def _depth(text: bytes) -> int:
    """How deep the brackets outside of strings are nested; at least as deep as the valid beginning of ``text``."""
    data = np.frombuffer(_JSON_STRING.sub(b"", text), np.uint8)
    steps = np.isin(data, _OPENING).astype(np.int64) - np.isin(data, _CLOSING)
    return int(np.cumsum(steps).max(initial=0))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
