"""Which partition Kafka's Java producer, and librdkafka with ``murmur2_random``, give to a key.

Source: Austin Appleby's MurmurHash2 (32 bits, public domain) as in ``org.apache.kafka.common.utils.Utils.murmur2``,
seed 0x9747b28c; the partition is ``(hash & 0x7fffffff) % partitions``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)
_R = np.uint32(24)


def partitions_of(ids: Sequence[str], partitions: int) -> NDArray[np.int32]:
    """The partition of each of n non-empty ids, int32 [n], in a topic of ``partitions`` partitions."""
    keys = [id_.encode() for id_ in ids]
    hashes = murmur2(keys) & np.uint32(0x7FFFFFFF)
    return (hashes % np.uint32(partitions)).astype(np.int32)


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """The 32-bit hash of each of n keys, uint32 [n]. One pass over all keys per four bytes of the longest."""
    sizes = np.fromiter(map(len, keys), np.int64, len(keys))
    hashes = _SEED ^ sizes.astype(np.uint32)
    if len(keys) == 0:
        return hashes
    # Longest first: the keys that still have a word k are then a prefix of the arrays.
    order = np.argsort(-sizes, kind="stable")
    ordered = sizes[order]
    words_of = ordered // 4
    starts = (np.cumsum(sizes) - sizes)[order]
    data = np.frombuffer(b"".join((*keys, bytes(4))), np.uint8)
    h = hashes[order]
    for word in range(int(words_of[0])):
        n = int(np.searchsorted(-words_of, -word, side="left"))
        k = _little_endian(data, starts[:n] + 4 * word) * _M
        k ^= k >> _R
        h[:n] = h[:n] * _M ^ k * _M
    left = ordered % 4
    tail = _little_endian(data, starts + 4 * words_of) & ((np.uint32(1) << (8 * left).astype(np.uint32)) - np.uint32(1))
    h = np.where(left > 0, (h ^ tail) * _M, h)
    h ^= h >> np.uint32(13)
    h *= _M
    h ^= h >> np.uint32(15)
    hashes[order] = h
    return hashes


def _little_endian(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    word = data[at].astype(np.uint32)
    for byte in (1, 2, 3):
        word |= data[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return word
