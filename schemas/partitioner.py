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
_MOST_BYTES = 64 * 1024 * 1024  # of keys padded to the longest


def partitions_of(ids: Sequence[str], partitions: int) -> NDArray[np.int32]:
    """The partition of each of n non-empty ids, int32 [n], in a topic of ``partitions`` partitions."""
    keys = [id_.encode() for id_ in ids]
    hashes = murmur2(keys) & np.uint32(0x7FFFFFFF)
    return (hashes % np.uint32(partitions)).astype(np.int32)


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """The 32-bit hash of each of n keys, uint32 [n]. One pass over all keys per four bytes of the longest."""
    n = len(keys)
    sizes = np.fromiter(map(len, keys), np.int64, n)
    hashes = _SEED ^ sizes.astype(np.uint32)
    if n == 0:
        return hashes
    width = 4 * (int(sizes.max()) // 4 + 1)
    if n > 1 and n * width > _MOST_BYTES:
        return np.concatenate((murmur2(keys[: n // 2]), murmur2(keys[n // 2 :])))
    # Longest first: the keys that still have a word k are then a prefix. Zeros pad each key to whole words.
    order = np.argsort(-sizes, kind="stable")
    words_of = sizes[order] // 4
    words = np.array(keys, f"S{width}").view("<u4").reshape(n, -1)[order].T
    h = hashes[order]
    for word in range(int(words_of[0])):
        some = int(np.searchsorted(-words_of, -word, side="left"))
        k = words[word, :some] * _M
        k ^= k >> _R
        h[:some] = h[:some] * _M ^ k * _M
    tail = words[words_of, np.arange(n)]
    h = np.where(sizes[order] % 4 > 0, (h ^ tail) * _M, h)
    h ^= h >> np.uint32(13)
    h *= _M
    h ^= h >> np.uint32(15)
    hashes[order] = h
    return hashes
