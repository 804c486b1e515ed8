"""Taking messages from the consumer: bounded by rows, bytes and time, and safe across rebalances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..clock import Clock
from ..config import WorkerSection
from ..errors import Refused
from ..log.port import Consumer, Message, OffsetGone, TopicAbsent
from ..schemas.snapshot import closes_run
from .partition import Owned, Partition

_IDLE_POLL_S = 0.02  # the worker looks for new runs, and at its commits, between two polls
_FIRST_TAKE = 64
_REMEMBERED = 0.95  # weight of the average so far when one message is added
_BLOCKS_LINGER_S = 0.1
_WORTH_A_WRITE = 0.25  # of batch_rows
_SLICE_S = 0.02  # the client waits for as many messages as were asked for; this bounds how long a live event waits too

ReadAhead = Callable[[Message, Partition], None]


class Intake:
    """Gathers the messages of one turn. Used by the polling thread; the consumer calls its listener inside ``gather``.

    Gathered messages are held in their Partition and dropped with it. ``read_ahead`` is called with each message of a
    snapshot topic as it arrives.
    """

    def __init__(
        self,
        consumer: Consumer,
        owned: Owned,
        bounds: WorkerSection,
        collection: str,
        row_bytes: int,
        read_ahead: ReadAhead,
        clock: Clock,
        went_back: Callable[[], Refused | None] = lambda: None,
    ) -> None:
        """``went_back`` is asked when an offset is gone: what to raise if it lies beyond the end of the log."""
        self._went_back = went_back
        self._consumer = consumer
        self._owned = owned
        self._bounds = bounds
        self._collection = collection
        self._row_bytes = row_bytes
        self._read_ahead = read_ahead
        self._clock = clock
        self._average_bytes = float(bounds.batch_bytes) / _FIRST_TAKE
        self._newest: Message | None = None  # of a snapshot topic

    def gather(self, *, store_is_idle: Callable[[], bool]) -> list[Message]:
        """Block until something arrives (at most 0.02 s), then collect until a bound or ``linger_ms`` is reached.

        If only snapshot blocks are held, this waits a little longer, because a store writes many rows in little more
        time than few. While the store is busy the blocks stay held: this returns nothing and later calls add to
        them. An idle store gets them once they fill a quarter of ``batch_rows``. After the marker that closes a run no
        more blocks come, so this does not wait. Raises Refused or Unavailable for errors that do not pass.
        """
        if not self._holds():
            self._poll(_IDLE_POLL_S)
        if not self._holds():
            return []
        began_s, linger_s = self._clock.monotonic_s(), self._bounds.linger_ms / 1000
        while True:
            rows = sum(partition.held_rows for partition in self._owned.values())
            size = sum(partition.held_bytes for partition in self._owned.values())
            if not rows:
                break  # only ends of partitions are held: there is no row to gather more rows with
            awaits_blocks, idle = self._awaits_blocks(), store_is_idle()
            patience_s = max(linger_s, _BLOCKS_LINGER_S) if awaits_blocks else linger_s
            left = began_s + patience_s - self._clock.monotonic_s()
            if rows >= self._bounds.batch_rows or size >= self._bounds.batch_bytes:
                break
            if idle and rows >= _WORTH_A_WRITE * self._bounds.batch_rows:
                break
            if left <= 0:
                if awaits_blocks and not idle:
                    return []
                break
            room = (self._bounds.batch_bytes - size) / max(self._average_bytes, 1.0)
            take = int(max(1, min(room, self._bounds.batch_rows - rows, 1_000)))
            self._consume(take, min(left, _SLICE_S))
        return [message for partition in self._owned.values() for message in partition.take_held()]

    def hold(self) -> None:
        """Poll once without waiting, to stay a member of the group. Messages that arrive are kept for the next turn."""
        self._poll(0)

    def _holds(self) -> bool:
        return any(partition.held for partition in self._owned.values())

    def _poll(self, timeout_s: float) -> None:
        with self._explained():
            message = self._consumer.poll(timeout_s)
        if message is not None:
            self._keep([message])

    def _consume(self, limit: int, timeout_s: float) -> None:
        with self._explained():
            messages = self._consumer.consume(limit, timeout_s)
        self._keep(messages)

    def _keep(self, messages: list[Message]) -> None:
        sizes = []
        for message in messages:
            partition = self._owned.get((message.topic(), message.partition()))
            if partition is None:
                continue  # revoked during the call that returned the message: the next owner reads it
            partition.held.append(message)
            if message.error() is None:
                size = len(message)
                sizes.append(size)
                partition.held_bytes += size
                partition.held_rows += size // self._row_bytes or 1
                if partition.run is not None:
                    self._newest = message
                    self._read_ahead(message, partition)
        if sizes:
            mean = sum(sizes) / len(sizes)
            self._average_bytes = mean + _REMEMBERED ** len(sizes) * (self._average_bytes - mean)

    def _awaits_blocks(self) -> bool:
        """Whether only snapshot blocks are held, and more are to come."""
        if any(partition.held_rows and partition.run is None for partition in self._owned.values()):
            return False
        return self._newest is None or not closes_run(self._newest.value())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the consumer's final errors into Refused, with the remedy."""
        try:
            yield
        except OffsetGone as error:
            if (went_back := self._went_back()) is not None:
                raise went_back from error
            raise Refused(
                f"{error.place[0]} [{error.place[1]}]: events that this store has not applied are gone ({error}): "
                "retention was shorter than the lag; nothing was skipped. "
                f"`vecferry doctor {self._collection}` says how to go on; a store beside the migration is filled "
                f"anew, under another name, by `vecferry replay {self._collection} --run RUN --into NAME`"
            ) from error
        except TopicAbsent as error:
            raise Refused(f"{error}; run `vecferry doctor {self._collection}`") from error
