"""The publisher: every vector write of an application, as an event in Kafka."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException
from numpy.typing import ArrayLike

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import InvalidRecord, NotDelivered, Refused, VecferryError
from ..forks import Home
from ..kafka_contact import Contact
from ..schemas.collection import Collection
from ..schemas.fields import RowFields
from ..schemas.ids import Id
from ..schemas.position import next_offset
from .client import bounds, connect
from .delivery import BatchDelivery, Delivery, describe
from .outages import Outages
from .outstanding import Book, Outstanding, seconds
from .records import Records, event_ids
from .reports import CALLS_PER_TURN, Reports
from .validation import Metadata

_ANY_PARTITION = -1  # the partitioner decides. Given by place: names cost the client a third of the call
_PURGE_S = 5.0  # purging is local: the reports come at once
_MAX_NAMED = 10
_EXIT_FLUSH_S = 5.0  # of all publishers together
_open_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()
_log = logging.getLogger("vecferry.publisher")


def refuse_unknown_on_full(on_full: object) -> None:
    """Raise InvalidRecord for anything but "block" and "raise"."""
    if not isinstance(on_full, str) or on_full not in ("block", "raise"):
        raise InvalidRecord("on_full", f"{on_full!r:.40} is not known", "pass 'block' or 'raise'")


class Publisher:
    """Publishes the writes of one collection. Open it once per process and share it between threads and coroutines.

    Every method validates first and raises InvalidRecord at once, with field, problem and remedy; nothing of that call
    is then published. What is accepted is acknowledged by all in-sync replicas, without duplicates, in the order of the
    calls per id. Delivery reports are served by a thread of its own, and by the calls while they come quickly.

    When the client's queue is full (``queue.buffering.max.messages`` and ``.kbytes``), ``on_full="block"`` waits for
    room, for at most ``delivery.timeout.ms``, and ``on_full="raise"`` raises NotDelivered: nothing is ever dropped
    silently. A coroutine must not block its loop, so asyncio applications want ``"raise"``.

    ``metadata_fields``, when given, are the only metadata keys that the collection's stores hold. After a fatal error
    of the client or ``close``, every call raises Refused with the remedy; in a forked child it raises Forked.

    A process that ends without ``close`` waits for outstanding acknowledgements for 5 s at most, and logs a warning
    that names what is lost. A process that a signal kills, or that ends through ``os._exit``, can do neither.

    Opening blocks for about ``open_timeout_s`` at most; raises Unavailable, Refused (topic, partitions), ConfigError.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        topic: str,
        producer_config: Mapping[str, Any],
        on_full: Literal["block", "raise"] = "block",
        metadata_fields: frozenset[str] | None = None,
        open_timeout_s: float = 10.0,
        close_timeout_s: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
        max_record_bytes: int | None = None,
        log_ends: Sequence[int] = (),
        on_doubt: Callable[[], None] = lambda: None,
        replicas: Sequence[RowFields] = (),
    ) -> None:
        """``replicas``: the columns of each, by which values are judged and spelled.

        ``max_record_bytes``: what ``topic`` takes. ``log_ends``: where it ends; no record gets an offset below.
        ``on_doubt`` is called, from the thread that serves reports, when one does: the topic may be another one now.
        """
        refuse_unknown_on_full(on_full)
        self._blocks = on_full == "block"
        self._close_timeout_s = close_timeout_s
        self._clock = clock
        self._home = Home(f"this publisher of collection {collection.name!r}", self)
        self._book = Book(
            topic,
            epoch=collection.epoch,
            partitions=collection.partitions,
            on_outgrown=self._on_outgrown,
            log_ends=log_ends,
            on_doubt=on_doubt,
        )
        self._records = Records(collection, metadata_fields, clock.unix_s, event_ids(os.urandom(8)), replicas)
        self._refusal: str | None = None
        self._closed = False
        self._topic = topic
        contact = Contact(str(producer_config.get("bootstrap.servers")), clock)
        self._outages = Outages(contact, self._book)
        self._producer = connect(
            collection,
            topic,
            {**producer_config, **bounds(max_record_bytes)},
            contact,
            timeout_s=open_timeout_s,
            on_error=self._on_client_error,
            clock=clock,
        )
        self._produce = self._producer.produce
        name = f"vecferry-publisher-{topic}"
        self._reports = Reports(self._producer, name, self._on_client_error, clock, self._outages.served)
        _open_publishers.add(self)
        if multiprocessing.parent_process() is not None:  # such a process ends without what atexit runs
            multiprocessing.util.Finalize(None, _say_at_exit, exitpriority=0)

    def reached(self) -> dict[int, int]:
        """By partition: the next offset after the last one that is known to have been given out."""
        return {partition: next_offset(offset) for partition, offset in enumerate(self._book.newest())}

    def refuse(self, problem: Refused) -> None:
        """Take no more writes, because of ``problem``; callable from any thread. What is under way may still arrive."""
        self._refusal = str(problem)

    def upsert(
        self, id: Id, vector: ArrayLike, metadata: Metadata | None = None, *, source_text: str | None = None
    ) -> Delivery:
        """Publish a whole row: ``vector`` real numbers [d] (stored as float32), ``metadata`` a JSON object.

        Dates, times, Decimal, UUID and NumPy's scalars are taken too; docs/developer/values.md says what becomes of
        them. ``id`` may be an int or a UUID where the collection's ids are.

        ``source_text`` is what was embedded, kept for re-embedding. Blocks only as the class says. Raises
        InvalidRecord, NotDelivered (queue full), Refused.
        """
        key, value = self._records.upsert(id, vector, metadata, source_text)
        delivery = Delivery(self._book, str(id))
        self._send(key, value, delivery)
        return delivery

    def delete(self, id: Id) -> Delivery:
        """Publish that the row is gone; deleting what does not exist is fine. Blocks and raises as :meth:`upsert`."""
        key, value = self._records.delete(id)
        delivery = Delivery(self._book, str(id))
        self._send(key, value, delivery)
        return delivery

    def upsert_many(
        self,
        ids: Sequence[Id],
        vectors: ArrayLike,
        metadata: Sequence[Metadata | None] | None = None,
        *,
        source_texts: Sequence[str | None] | None = None,
    ) -> BatchDelivery:
        """Publish n rows, in order: ``ids`` n texts, ``vectors`` real numbers [n, d], one ``metadata`` object per row.

        All rows are validated before the first is published; an error names the row as ``vectors[3]``. Blocks as the
        class says. If the queue is full under ``on_full="raise"``, NotDelivered says how many rows were accepted:
        publish the whole batch again.
        """
        if not isinstance(ids, Iterable):
            raise InvalidRecord("ids", f"{type(ids).__name__} is no list", "pass a list of ids")
        ids = list(ids)  # the caller may change its list meanwhile
        records = self._records.upserts(ids, vectors, metadata, source_texts)
        batch = BatchDelivery(self._book, str(ids[0]) if ids else "")
        try:
            for key, value in records:
                batch.taken += 1  # before: after an interrupt in between, too few are acknowledged and not too many
                self._send(key, value, batch)
        except VecferryError as error:
            batch.taken -= 1
            if isinstance(error, NotDelivered):
                raise NotDelivered(f"{batch.taken} of {len(ids)} rows were accepted: {error}") from error
            raise
        finally:
            batch.seal()
        return batch

    def flush(self, timeout_s: float = 30.0) -> None:
        """Block until everything published before this call has its result, at most ``timeout_s``.

        Raises NotDelivered naming what Kafka refused (failures that somebody saw through ``result`` are not named
        again) and what is still waiting.
        """
        self._home.check()
        deadline_s = self._clock.monotonic_s() + seconds(timeout_s)
        published = list(self._book.pending)
        # Records of a partition complete in order, so wait for the newest first.
        for delivery in reversed(published):
            if not (delivery.done() or delivery.wait(max(0.0, deadline_s - self._clock.monotonic_s()))):
                break
        self._report([delivery for delivery in published if not delivery.done()])

    def close(self) -> None:
        """Flush for at most ``close_timeout_s`` and release the client; idempotent. Raises NotDelivered as ``flush``.

        Deliveries that are still waiting then fail. In a forked child this does nothing: the records belong to the
        parent.
        """
        if self._home.left or self._closed:
            return
        if self._refusal is None:
            self._refusal = "this publisher is closed; open another one"
        try:
            self.flush(self._close_timeout_s)
        finally:
            if self._book.pending:
                self._producer.purge()
                deadline_s = self._clock.monotonic_s() + _PURGE_S
                for delivery in list(self._book.pending):
                    delivery.wait(max(0.0, deadline_s - self._clock.monotonic_s()))
            self._closed = True
            self._reports.stop()
            self._producer.close()
            for delivery in list(self._book.pending):
                delivery.abandon(KafkaError(KafkaError._DESTROY, "the publisher was closed"))
            self._book.take_failures()  # named by flush already
            _open_publishers.discard(self)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. What was not acknowledged is raised, or noted on the exception that is already in flight."""
        try:
            self.close()
        except NotDelivered as undelivered:
            if error is None:
                raise
            error.add_note(str(undelivered))

    def _send(self, key: bytes, value: bytes, delivery: Delivery | BatchDelivery) -> None:
        if self._refusal is not None:
            raise self._refused()
        self._book.pending[delivery] = None  # before the client can report on it
        try:
            self._produce(self._topic, value, key, _ANY_PARTITION, delivery)
        except BufferError:
            self._send_when_there_is_room(key, value, delivery)
        except KafkaException as error:
            delivery.withdraw()
            raise self._rejected(error) from error
        reports = self._reports
        reports.calls += 1
        if not reports.calls % CALLS_PER_TURN:
            reports.serve()

    def _send_when_there_is_room(self, key: bytes, value: bytes, delivery: Delivery | BatchDelivery) -> None:
        try:
            while self._blocks:
                self._reports.wait_for_room()
                if self._refusal is not None:
                    raise self._refused()
                with suppress(BufferError):
                    self._produce(self._topic, value, key, _ANY_PARTITION, delivery)
                    return
        except KafkaException as error:
            delivery.withdraw()
            raise self._rejected(error) from error
        except VecferryError:
            delivery.withdraw()
            raise
        delivery.withdraw()
        raise NotDelivered(
            f"the client's queue is full ({len(self._producer)} records wait): Kafka takes them too slowly or is away; "
            "publish again in a moment, raise queue.buffering.max.*, or open with on_full='block'"
        )

    def _rejected(self, error: KafkaException) -> VecferryError:
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return InvalidRecord("record", "is larger than message.max.bytes", "raise it, or shorten the record")
        if cause.fatal():
            self._on_client_error(cause)
            return self._refused()
        return NotDelivered(f"the Kafka client did not take the record: {describe(cause)}")

    def _on_client_error(self, error: KafkaError) -> None:
        self._outages.failed(error)
        # The client recovers from other errors (a lost connection), or reports them with a delivery.
        if error.fatal():
            self._book.stopped = error
            self._refusal = (
                f"the Kafka client stopped for good: {describe(error)}; close this publisher and open another"
            )

    def _on_outgrown(self, problem: str) -> None:
        self._refusal = f"a record was acknowledged where no worker takes it: {problem}; begin a new epoch of the topic"

    def _refused(self) -> Refused:
        self._home.check()
        return Refused(self._refusal or "")

    def _report(self, waiting: Sequence[Outstanding]) -> None:
        failures = self._book.take_failures()
        problems = failures + [f"{delivery.problem()}: not acknowledged yet" for delivery in waiting]
        if problems:
            named = "; ".join(problems[:_MAX_NAMED])
            more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
            raise NotDelivered(f"Kafka did not acknowledge {len(problems)} publications: {named}{more}")

    def _leave_to_parent(self) -> None:
        self._refusal = "forked"  # which every call looks at in any case; _refused says it in full

    def _say_at_exit(self, timeout_s: float) -> None:
        if self._home.left or self._closed:
            return
        try:
            self.flush(timeout_s)
        except VecferryError as error:
            _log.warning("the process ends without close() of the publisher of %s: %s", self._topic, error)


def _refuse_in_child() -> None:
    # The client's threads do not exist in a forked child: producing there would wait for ever.
    for publisher in _open_publishers:
        publisher._leave_to_parent()


def _say_at_exit() -> None:
    deadline_s = SYSTEM_CLOCK.monotonic_s() + _EXIT_FLUSH_S
    while _open_publishers:
        _open_publishers.pop()._say_at_exit(max(0.0, deadline_s - SYSTEM_CLOCK.monotonic_s()))


os.register_at_fork(after_in_child=_refuse_in_child)
atexit.register(_say_at_exit)
