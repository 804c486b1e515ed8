"""Taking messages from the consumer: bounded by rows, bytes and time, and safe across rebalances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError

from ..clock import Clock
from ..config import KafkaSection, WorkerSection
from ..errors import Refused, Unavailable
from ..log.kafka.clients import unavailable
from ..schemas.snapshot import closes_run
from .assignment import Place

_log = logging.getLogger("vecferry.worker")

_IDLE_POLL_S = 0.02  # between two looks at what else there is to do: new runs begin within a few of them
_FIRST_TAKE = 64
_REMEMBERED = 0.95  # of an average, by each further message
_BLOCKS_LINGER_S = 0.1
_WORTH_A_WRITE = 0.25  # of batch_rows
_SILENCE_S = 30.0  # the client repeats itself for every broker and every attempt
_SLICE_S = 0.02  # the client waits for all that it is asked for: a live event shall not wait with it

# What heals by itself: the client reconnects, and until then there is nothing to read.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)


class Intake:
    """Gathers the messages of one turn. Used by the polling thread; callbacks of the consumer run inside ``gather``.

    ``read_ahead`` is given each message of a snapshot topic as it arrives, some of them twice.
    """

    def __init__(
        self,
        consumer: Consumer,
        kafka: KafkaSection,
        bounds: WorkerSection,
        collection: str,
        live_topic: str,
        row_bytes: int,
        read_ahead: Callable[[Any], None],
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._collection = collection
        self._live_topic = live_topic
        self._kafka = kafka
        self._bounds = bounds
        self._row_bytes = row_bytes
        self._read_ahead = read_ahead
        self._clock = clock
        self._held: list[Any] = []
        self._rows = self._size = 0  # of what is held: estimated, and in bytes
        self._silent_until_s = float("-inf")
        self._average_bytes = float(bounds.batch_bytes) / _FIRST_TAKE

    def gather(self, *, store_rests: Callable[[], bool]) -> list[Any]:
        """Block until something arrives (at most 0.02 s), then collect until a bound or ``linger_ms`` is reached.

        Snapshot blocks alone are waited for a little longer: nobody waits for them, and a store takes many rows at once
        for little more than it takes for few. So while ``store_rests`` says that it is at work, blocks are kept, for
        this call to return nothing and the next ones to add to them. But a store that rests gets what is worth a write,
        and behind the marker that closes a run there is nothing to wait for. Raises Refused or Unavailable for errors
        that do not pass.
        """
        if not self._held:
            self._keep([self._consumer.poll(_IDLE_POLL_S)])
        if not self._held:
            return []
        began_s, linger_s = self._clock.monotonic_s(), self._bounds.linger_ms / 1000
        while True:
            rows, size = self._rows, self._size
            if not rows:
                break  # ends of partitions: there is nothing to gather with
            awaits_blocks, rests = self._awaits_blocks(), store_rests()
            patience_s = max(linger_s, _BLOCKS_LINGER_S) if awaits_blocks else linger_s
            left = began_s + patience_s - self._clock.monotonic_s()
            if rows >= self._bounds.batch_rows or size >= self._bounds.batch_bytes:
                break
            if rests and rows >= _WORTH_A_WRITE * self._bounds.batch_rows:
                break
            if left <= 0:
                if awaits_blocks and not rests:
                    return []
                break
            room = (self._bounds.batch_bytes - size) / max(self._average_bytes, 1.0)
            take = int(max(1, min(room, self._bounds.batch_rows - rows, 1_000)))
            self._keep(self._consumer.consume(take, min(left, _SLICE_S)))
        gathered, self._held = self._held, []
        self._rows = self._size = 0
        return gathered

    def hold(self) -> None:
        """Poll once without waiting, to stay a member of the group; what still arrives is kept for the next turn."""
        self._keep([self._consumer.poll(0)])

    def forget(self, places: set[Place]) -> None:
        """Drop what was gathered of ``places``: they were given up, or start anew elsewhere."""
        kept = [message for message in self._held if (message.topic(), message.partition()) not in places]
        self._held, self._rows, self._size = [], 0, 0
        self._keep(kept)

    def _keep(self, messages: list[Any]) -> None:
        sizes = []
        for message in messages:
            if message is None:
                continue
            error = message.error()
            if error is None:
                sizes.append(len(message))
                if message.topic() != self._live_topic:
                    self._read_ahead(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                self._judge(error, message)
                continue
            self._held.append(message)
        if sizes:
            self._size += sum(sizes)
            self._rows += sum([size // self._row_bytes or 1 for size in sizes])
            mean = sum(sizes) / len(sizes)
            self._average_bytes = mean + _REMEMBERED ** len(sizes) * (self._average_bytes - mean)

    def _awaits_blocks(self) -> bool:
        events = [message for message in self._held if message.error() is None]
        if any(message.topic() == self._live_topic for message in events):
            return False
        return not closes_run(events[-1].value())

    def _judge(self, error: KafkaError, message: Any) -> None:
        place = f"{message.topic()} [{message.partition()}]"
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Refused(
                f"{place}: events that this store has not applied are gone ({error.str()}): retention was shorter than "
                f"the lag; nothing was skipped. `vecferry doctor {self._collection}` says how to go on; a store beside "
                f"the migration is filled anew, under another name, by "
                f"`vecferry replay {self._collection} --run RUN --into NAME`"
            )
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Refused(f"topic {message.topic()} does not exist; run `vecferry doctor {self._collection}`")
        if error.fatal():
            raise unavailable(self._kafka, error)
        if error.code() not in _PASSING and not error.retriable():
            raise Unavailable(f"{place}: {error.str()}; run `vecferry doctor {self._collection}`")
        now_s = self._clock.monotonic_s()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _SILENCE_S
            _log.warning("%s: Kafka does not answer (%s); going on when it does", self._collection, error.str())
