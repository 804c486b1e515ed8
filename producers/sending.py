"""How a record gets to the Kafka client, and how its delivery learns what became of it.

Two ways that do the same. ``DirectSender`` is compiled code, a plug-in of the client's library: no Python object is
made for an acknowledgement. ``CallbackSender`` is the Python client's own way, for where nothing could be compiled or
the library takes no plug-ins.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import operator
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import confluent_kafka.cimpl
from confluent_kafka import KafkaError, KafkaException, Producer
from numpy.typing import ArrayLike

from .delivery import BatchDelivery, Delivery
from .outstanding import Book, Outstanding
from .validation import Metadata

if TYPE_CHECKING:
    from ._native import PlainEncoder

try:
    from . import _native
except ImportError:  # built without a compiler
    _native = None  # type: ignore[assignment]

_ANY_PARTITION = -1  # the partitioner decides. Given by place: names cost the client a third of the call
_PLUGINS = "plugin.library.paths"
_FUNCTIONS = (  # in the order of _native.h
    "rd_kafka_conf_interceptor_add_on_new",
    "rd_kafka_conf_interceptor_add_on_conf_destroy",
    "rd_kafka_interceptor_add_on_acknowledgement",
    "rd_kafka_message_produce_errstr",
    "rd_kafka_topic_new",
    "rd_kafka_topic_destroy",
    "rd_kafka_produce",
    "rd_kafka_last_error",
)
_log = logging.getLogger("vecferry.kafka")
_making = threading.Lock()  # a plug-in learns from nothing but the moment whose client loads it


class Sender(Protocol):
    """A topic of one client."""

    producer: Producer

    @property
    def upsert(self) -> Callable[[str, ArrayLike, Metadata | None, float], Delivery | None]:
        """Id, vector, metadata and the time of day in seconds to a delivery on its way.

        None, and nothing sent, where this way does not know the row or the client did not take it.
        """

    @property
    def send(self) -> Callable[[bytes, bytes, Delivery | BatchDelivery], None]:
        """Hand over key and value; the delivery is then pending.

        Raises BufferError where the client's queue is full, and KafkaException; then it is not pending for this record.
        """

    def open(self) -> None:
        """Begin, once it is known that the topic exists."""

    def drain(self) -> None:
        """Take in what the client said; after every poll of it, by one thread at a time."""

    def tell(self) -> None:
        """Tell deliveries what they do not know from :meth:`drain`; by the same one thread.

        Runs what waits for them, so it is for a thread in which no KeyboardInterrupt can be raised.
        """

    @property
    def send_rows(self) -> Callable[[BatchDelivery, list[bytes], ArrayLike, list[bytes], float, int, int], int]:
        """From a batch, its :data:`PlainRows` and the numbers of the first row and of that behind the last, to how many
        it sent: from there on, rows are to be sent one by one."""

    @property
    def mark(self) -> Callable[[], int]:
        """A number that parts what was handed over before from what comes later."""

    @property
    def last(self) -> Callable[[int], Outstanding | None]:
        """From a ``mark``, what waits for the last record before it that has no result yet."""

    def waiting(self, mark: int | None = None) -> list[Outstanding]:
        """What is pending, of what was handed over before ``mark`` where one is given; a batch once, in order."""

    def close(self) -> None:
        """No more is sent. Before the client is closed; idempotent."""


class CallbackSender:
    """The client calls each delivery with its report."""

    def __init__(self, config: dict[str, Any], topic: str, book: Book) -> None:
        self.producer = Producer(config)
        self._topic = topic
        self._pending = book.pending
        self._orders = itertools.count()
        self.mark = self._orders.__next__

    def open(self) -> None:
        """Nothing is to be done."""

    def upsert(self, id_: str, vector: ArrayLike, metadata: Metadata | None, unix_s: float, /) -> None:
        """Every row is encoded elsewhere."""

    def send(self, key: bytes, value: bytes, delivery: Delivery | BatchDelivery, /) -> None:
        """As :class:`Sender` says."""
        self._pending.setdefault(delivery, next(self._orders))  # before the client can report on it
        if isinstance(delivery, BatchDelivery):
            delivery.taken += 1  # before: if there is an interrupt in between, too few are acknowledged, not too many
        try:
            self.producer.produce(self._topic, value, key, _ANY_PARTITION, delivery)
        except (BufferError, KafkaException):
            if isinstance(delivery, BatchDelivery):  # others of it are pending
                delivery.taken -= 1
            else:
                self._pending.pop(delivery, None)
            raise

    def send_rows(
        self,
        batch: BatchDelivery,
        keys: list[bytes],
        vectors: ArrayLike,
        metadata: list[bytes],
        unix_s: float,
        start: int,
        stop: int,
        /,
    ) -> int:
        """Every row is encoded elsewhere."""
        return 0

    def drain(self) -> None:
        """Nothing is to be done: the poll has called them."""

    def tell(self) -> None:
        """Nothing is to be done."""

    def last(self, mark: int, /) -> Outstanding | None:
        """As :class:`Sender` says."""
        waiting = reversed(self.waiting())
        return next((one for one in waiting if not one.done() and self._pending.get(one, mark) < mark), None)

    def waiting(self, mark: int | None = None) -> list[Outstanding]:
        """As :class:`Sender` says."""
        waiting = list(self._pending)  # in one go, while reports change it
        return waiting if mark is None else [one for one in waiting if self._pending.get(one, mark) < mark]

    def close(self) -> None:
        """Nothing is to be done."""


class DirectSender:
    """The client's library is handed records, and tells of acknowledgements, without Python in between."""

    def __init__(
        self, config: dict[str, Any], topic: str, book: Book, event_id_at: int, plain: PlainEncoder | None
    ) -> None:
        self._topic = topic
        self._direct = _native.Direct(
            functions=functions_of_the_client(),
            event_id_at=event_id_at,
            partitions=book.partitions,
            refuse=_refuse,
            book=book,
            delivery=Delivery,
            encoder=plain,
        )
        paths = ";".join(filter(None, (config.get(_PLUGINS), _native.__file__)))
        with _making:
            self.producer: Producer = self._direct.attach(lambda: Producer({**config, _PLUGINS: paths}))
        self.upsert = self._direct.upsert
        self.send = self._direct.send
        self.send_rows = self._direct.send_rows
        self.mark = self._direct.mark
        self.last = self._direct.last
        self.close = self._direct.close

    def open(self) -> None:
        """As :class:`Sender` says."""
        self._direct.open(self._topic)

    def drain(self) -> None:
        """As :class:`Sender` says."""
        if not self._direct.drain():
            raise KafkaException(KafkaError(KafkaError._FAIL, "reports were lost for want of memory", True))

    def tell(self) -> None:
        """As :class:`Sender` says."""
        while (untold := self._direct.untold()) is not None:
            record, delivery, report = untold
            try:
                if report is None:
                    delivery.settle()
                else:
                    code, text, partition, offset, key = report
                    error = KafkaError(code, text.decode(errors="replace") or None) if code else None
                    delivery.report(error, partition, offset, key)
            except Exception:  # noqa: BLE001  a waiter's own: the others are to be told all the same
                _log.exception("a delivery of %s could not be told", self._topic)
            self._direct.told(record)

    def waiting(self, mark: int | None = None) -> list[Outstanding]:
        """As :class:`Sender` says."""
        pending = sorted(self._direct.pending(), key=operator.itemgetter(0))
        return list(dict.fromkeys(delivery for order, delivery in pending if mark is None or order < mark))


def make_sender(config: dict[str, Any], topic: str, book: Book, event_id_at: int, plain: PlainEncoder | None) -> Sender:
    """The faster sender where it can be had, with what encodes plain rows. Raises what the client raises for a bad
    ``config``."""
    if _native is not None and ";" not in _native.__file__:  # librdkafka parts its plug-ins there
        try:
            return DirectSender(config, topic, book, event_id_at, plain)
        except (AttributeError, OSError, ValueError, TypeError, KafkaException):
            pass  # no plug-ins here, or ``config`` is bad, which the other says again
    return CallbackSender(config, topic, book)


def functions_of_the_client() -> tuple[int, ...]:
    """Addresses in the library that the Kafka client brought along. Raises AttributeError where it shows none."""
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in _FUNCTIONS)


def _refuse(code: int) -> None:
    error = KafkaError(code)
    if code == KafkaError._QUEUE_FULL:
        raise BufferError(error.str())
    raise KafkaException(error)


def _renew_lock() -> None:
    global _making
    _making = threading.Lock()  # whoever held it does not exist in a forked child


os.register_at_fork(after_in_child=_renew_lock)
