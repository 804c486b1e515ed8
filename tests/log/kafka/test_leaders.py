"""A client that is new to a topic is made to know who leads it, and asks for its producer id in time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from step_clock import StepClock
from vecferry.log.kafka.clients import learn_leaders, learn_producer_id


class Client:
    """Answers with one entry of ``answers`` per request, the last one again and again."""

    def __init__(self, *answers: dict[int, Any]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=answer)})


def led(leader: int, error: object = None) -> Any:
    return SimpleNamespace(leader=leader, error=error)


def asked(*answers: dict[int, Any], timeout_s: float = 1.0) -> tuple[int, float]:
    """How often the client was asked, and how many seconds that took."""
    client, clock = Client(*answers), StepClock()
    learn_leaders(client, "topic", clock=clock, timeout_s=timeout_s)  # type: ignore[arg-type]
    return client.asked, clock.now_s


def test_it_asks_until_every_partition_has_a_leader() -> None:
    settled = {0: led(1), 1: led(2)}
    assert asked(settled) == (1, 0.0)
    assert asked({}, {0: led(1), 1: led(-1)}, {0: led(1), 1: led(2, "no leader yet")}, settled)[0] == 4


def test_a_producer_asks_once_more_after_time_to_connect() -> None:
    client, clock = Client({0: led(1)}), StepClock()
    learn_producer_id(client, "topic", clock=clock, timeout_s=1.0)  # type: ignore[arg-type]
    assert client.asked == 2
    assert clock.now_s > 0


def test_it_gives_up_when_its_time_is_over() -> None:
    requests, seconds = asked({0: led(-1)}, timeout_s=0.5)
    assert requests > 10
    assert 0.5 < seconds < 0.6
