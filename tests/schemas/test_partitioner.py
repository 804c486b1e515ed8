"""The partitioner against Kafka's own vectors, a scalar reference and what librdkafka really chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st
from mock_kafka import MockKafka
from vecferry.schemas.partitioner import murmur2, partitions_of


def scalar_murmur2(key: bytes) -> int:
    """Kafka's Utils.murmur2 as it is written in Java, in unsigned arithmetic."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


@pytest.mark.parametrize(
    ("key", "java"),  # UtilsTest.testMurmur2 of Apache Kafka
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_java(key: bytes, java: int) -> None:
    assert murmur2([key]).astype(np.int32).tolist() == [java]


@given(st.lists(st.binary(max_size=40)))
def test_many_keys_at_once_equal_one_by_one(keys: list[bytes]) -> None:
    assert murmur2(keys).tolist() == [scalar_murmur2(key) for key in keys]


def test_keys_that_would_take_much_memory_together_are_hashed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [b"x" * size for size in (1, 90, 3, 0, 200, 7)]
    monkeypatch.setattr("vecferry.schemas.partitioner._MOST_BYTES", 300)
    assert murmur2(keys).tolist() == [scalar_murmur2(key) for key in keys]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)), st.integers(1, 1000))
def test_partitions_are_in_range(ids: list[str], partitions: int) -> None:
    found = partitions_of(ids, partitions)
    assert found.dtype == np.int32
    assert found.tolist() == [(scalar_murmur2(id_.encode()) & 0x7FFFFFFF) % partitions for id_ in ids]


@pytest.mark.parametrize("partitions", [1, 7, 12])
def test_librdkafka_makes_the_same_choice(partitions: int) -> None:
    ids = [f"id-{i}" for i in range(200)] + ["é", "日本語", "x" * 512, "a b'\"", "🚢"]
    chosen: dict[str, int] = {}

    def delivered(error: Any, message: Any) -> None:
        assert error is None
        chosen[message.key().decode()] = message.partition()

    with MockKafka() as kafka:
        kafka.create_topic("t", partitions)
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2_random"})
        for id_ in ids:
            producer.produce("t", b"v", id_.encode(), on_delivery=delivered)
        assert producer.flush(30) == 0
        producer.close()  # before the cluster: a client that ends after it sometimes waits for its broker for ever
    assert chosen == dict(zip(ids, partitions_of(ids, partitions).tolist(), strict=True))
