"""What a flush waits for, and names when it does not come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mock_kafka import MockKafka
from publishing import VECTOR, D, open_publisher, read_all, warm
from vecferry.errors import NotDelivered
from vecferry.producers.delivery import Delivery

pytestmark = pytest.mark.slow


def test_what_was_sent_of_an_interrupted_batch_is_still_awaited(kafka: MockKafka) -> None:
    """The interpreter raises KeyboardInterrupt behind the call in which the signal came."""
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.set_down()
        produce, calls = publisher._produce, iter(range(3))

        def interrupted(*arguments: Any) -> None:
            produce(*arguments)
            if next(calls, None) is None:
                raise KeyboardInterrupt

        publisher._produce = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            publisher.upsert_many([f"id-{i}" for i in range(1_000)], np.ones((1_000, D)))
        with pytest.raises(NotDelivered, match=r"4 of the batch of 4 that .* not acknowledged yet"):
            publisher.flush(0.05)
        kafka.set_up()
        publisher.flush(30.0)
    assert len(read_all(kafka, 5)) == 5


def test_a_flush_speaks_of_what_was_published_before_it(kafka: MockKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.set_down()
        publisher.upsert("before", VECTOR)
        wait = Delivery.wait

        def meanwhile(delivery: Delivery, timeout: float | None) -> bool:
            publisher.upsert("after", VECTOR)
            return wait(delivery, timeout)

        monkeypatch.setattr(Delivery, "wait", meanwhile)
        with pytest.raises(NotDelivered, match="1 publications: 'before': not acknowledged yet"):
            publisher.flush(0.05)
        monkeypatch.undo()
        kafka.set_up()


def test_a_flush_waits_for_the_newest_first_and_for_all(kafka: MockKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    wait = Delivery.wait

    def noted(delivery: Delivery, timeout: float | None) -> bool:
        waited.append(delivery.id)
        kafka.set_up()
        return wait(delivery, timeout)

    monkeypatch.setattr(Delivery, "wait", noted)
    with open_publisher(kafka) as publisher:
        publisher.flush()
        kafka.set_down()
        written = [publisher.upsert(f"id-{i}", VECTOR) for i in range(100)]
        publisher.flush(30.0)
        assert all(delivery.done() for delivery in written)
    assert waited[0] == "id-99"
