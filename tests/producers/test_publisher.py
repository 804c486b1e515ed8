"""The publisher against real TCP brokers: librdkafka's mock cluster."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from mock_kafka import MockKafka
from publishing import PARTITIONS, TOPIC, VECTOR, D, open_publisher, read_all
from vecferry.errors import InvalidRecord
from vecferry.schemas.batch import Op
from vecferry.schemas.collection import MAX_RECORD_BYTES
from vecferry.schemas.partitioner import partitions_of
from vecferry.schemas.position import encode_position
from vecferry.schemas.tokens import WriteToken


def test_a_closed_publisher_leaves_nothing_behind(kafka: MockKafka) -> None:
    publisher = open_publisher(kafka)
    publisher.upsert("a", VECTOR).result(timeout=30)
    publisher.upsert_many(["b"], np.ones((1, D))).result(timeout=30)
    publisher.close()
    gone = weakref.ref(publisher)
    del publisher
    gc.collect()
    assert gone() is None


def test_an_upsert_is_acknowledged_at_its_position(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        tokens = [publisher.upsert("a", VECTOR, {"k": i}).result(timeout=30) for i in range(3)]
        partition = int(partitions_of(["a"], PARTITIONS)[0])
    assert tokens == [WriteToken(TOPIC, {partition: encode_position(3, offset)}) for offset in range(3)]
    events = read_all(kafka, 3)
    assert events.ids == ["a"] * 3
    assert events.metadata == [b'{"k":0}', b'{"k":1}', b'{"k":2}']
    assert events.positions.tolist() == [token.position for token in tokens]
    np.testing.assert_array_equal(events.vectors, np.stack([VECTOR] * 3))


def test_a_delete_is_an_event(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        publisher.upsert("a", VECTOR)
        token = publisher.delete("a").result(timeout=30)
    events = read_all(kafka, 2)
    assert events.ops.tolist() == [Op.UPSERT, Op.DELETE]
    assert events.positions.tolist()[1] == token.position
    assert not events.vectors[1].any()


def test_a_batch_has_one_token_for_all_its_rows(kafka: MockKafka) -> None:
    ids = [f"id-{i}" for i in range(300)]
    vectors = np.random.default_rng(1).standard_normal((300, D))
    with open_publisher(kafka) as publisher:
        token = publisher.upsert_many(ids, vectors, [{"i": i} for i in range(300)]).result(timeout=30)
    events = read_all(kafka, 300)
    highest = {p: int(events.positions[events.partitions == p].max()) for p in range(PARTITIONS)}
    assert token == WriteToken(TOPIC, highest)
    assert sorted(events.ids) == sorted(ids)
    row = events.ids.index("id-7")
    assert events.metadata[row] == b'{"i":7}'
    np.testing.assert_array_equal(events.vectors[row], vectors[7].astype(np.float32))


def test_an_empty_batch_is_done(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        assert publisher.upsert_many([], []).result(timeout=0) == WriteToken(TOPIC, {})


def test_a_bad_row_keeps_the_whole_batch_out(kafka: MockKafka) -> None:
    vectors = np.ones((3, D))
    vectors[1, 0] = np.nan
    with open_publisher(kafka) as publisher:
        with pytest.raises(InvalidRecord) as refused:
            publisher.upsert_many(["a", "b", "c"], vectors)
        assert refused.value.field == "vectors[1]"
        with pytest.raises(InvalidRecord) as refused:
            publisher.upsert_many(["a", "", "c"], np.ones((3, D)))
        assert refused.value.field == "ids[1]"
        assert publisher.upsert("z", VECTOR).result(timeout=30).position == encode_position(3, 0)


def test_a_record_beyond_the_limit_is_refused(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher, pytest.raises(InvalidRecord, match=r"record: takes \d+ bytes"):
        publisher.upsert("a", VECTOR, source_text="x" * MAX_RECORD_BYTES)


def test_a_row_beyond_the_limit_keeps_the_whole_batch_out(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        with pytest.raises(InvalidRecord) as refused:
            publisher.upsert_many(["a", "b"], np.ones((2, D)), source_texts=["x", "x" * MAX_RECORD_BYTES])
        assert refused.value.field == "records[1]"
        assert publisher.upsert("z", VECTOR).result(timeout=30).position == encode_position(3, 0)


def test_the_callers_array_may_be_reused_at_once(kafka: MockKafka) -> None:
    vector = VECTOR.copy()
    with open_publisher(kafka, {"linger.ms": 200}) as publisher:
        publisher.upsert("a", vector)
        vector[:] = 99
    np.testing.assert_array_equal(read_all(kafka, 1).vectors[0], VECTOR)


def test_threads_share_a_publisher_and_each_keeps_its_order(kafka: MockKafka) -> None:
    tokens: dict[str, list[int]] = {}

    def write(name: str) -> None:
        deliveries = [publisher.upsert(name, VECTOR, {"n": n}) for n in range(200)]
        tokens[name] = [delivery.result(timeout=30).position for delivery in deliveries]

    with open_publisher(kafka) as publisher:
        threads = [threading.Thread(target=write, args=(f"writer-{i}",)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = read_all(kafka, 1200)
    assert len(tokens) == 6
    for name, positions in tokens.items():
        assert positions == sorted(positions)
        found = [i for i, id_ in enumerate(events.ids) if id_ == name]
        assert events.positions[found].tolist() == positions
        assert [events.metadata[i] for i in found] == [b'{"n":%d}' % n for n in range(200)]


def test_many_threads_wait_for_one_delivery(kafka: MockKafka) -> None:
    found: list[WriteToken] = []
    with open_publisher(kafka, {"linger.ms": 100}) as publisher:
        delivery = publisher.upsert("a", VECTOR)
        threads = [threading.Thread(target=lambda: found.append(delivery.result(timeout=30))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert delivery.done()
    assert found == [delivery.result()] * 8


def test_deliveries_are_awaitable_without_blocking_the_loop(kafka: MockKafka) -> None:
    async def application() -> list[WriteToken]:
        with open_publisher(kafka, {"linger.ms": 100}, on_full="raise") as publisher:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(tick())
            written = [publisher.upsert(f"id-{i}", VECTOR) for i in range(50)]
            tokens = [await delivery for delivery in written]
            tokens.append(await publisher.upsert_many(["x", "y"], np.ones((2, D))))
            assert tokens[0] == await written[0]  # once more, when it is long done
            ticking.cancel()
            assert ticks > 1
            abandoned = asyncio.ensure_future(_wait_for(publisher.upsert("z", VECTOR)))
            await asyncio.sleep(0)
            abandoned.cancel()
            return tokens

    tokens = asyncio.run(application())
    assert len(tokens) == 51
    assert len(read_all(kafka, 53)) == 53


async def _wait_for(delivery: Any) -> WriteToken:
    return await delivery  # type: ignore[no-any-return]
