"""What a flush waits for, and names when it does not come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mock_kafka import MockKafka
from publishing import VECTOR, D, open_publisher, read_all, warm
from vecferry.errors import NotDelivered


def test_what_was_sent_of_an_interrupted_batch_is_still_awaited(kafka: MockKafka, sender: str) -> None:
    """The interpreter raises KeyboardInterrupt behind the call in which the signal came."""
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.set_down()
        name = "send_rows" if sender == "DirectSender" else "send"
        send, calls = getattr(publisher._sender, name), iter(range(3))

        def interrupted(*arguments: Any) -> Any:
            taken = send(*arguments)
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return taken

        setattr(publisher._sender, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            publisher.upsert_many([f"id-{i}" for i in range(1_000)], np.ones((1_000, D)))
        accepted = 4 * (64 if sender == "DirectSender" else 1)
        with pytest.raises(NotDelivered, match=rf"{accepted} of the batch of {accepted} that .* not acknowledged yet"):
            publisher.flush(0.05)
        kafka.set_up()
        publisher.flush(30.0)
    assert len(read_all(kafka, accepted + 1)) == accepted + 1


@pytest.mark.usefixtures("sender")
def test_a_flush_speaks_of_what_was_published_before_it(kafka: MockKafka) -> None:
    with open_publisher(kafka) as publisher:
        warm(publisher)
        kafka.set_down()
        publisher.upsert("before", VECTOR)
        last = publisher._sender.last

        def meanwhile(mark: int) -> Any:
            publisher.upsert("after", VECTOR)
            return last(mark)

        publisher._sender.last = meanwhile  # type: ignore[misc]
        with pytest.raises(NotDelivered, match="1 publications: 'before': not acknowledged yet"):
            publisher.flush(0.05)
        publisher._sender.last = last  # type: ignore[misc]
        kafka.set_up()
