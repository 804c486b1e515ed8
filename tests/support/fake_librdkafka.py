"""What the compiled sender needs of librdkafka, with reports on demand.

The client's library cannot be made to tell every story, least of all twice alike; this one tells what it is asked to.
It stands behind the same table of C functions, so the compiled code is the one that ships.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass

from vecferry.producers import _native

QUEUE_FULL, UNKNOWN_TOPIC = -184, -188
COPY = 2
_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t


class Message(ctypes.Structure):
    """rd_kafka_message_t."""

    _fields_ = (
        ("error", _INT),
        ("topic", _POINTER),
        ("partition", ctypes.c_int32),
        ("value", _POINTER),
        ("size", _SIZE),
        ("key", _POINTER),
        ("key_size", _SIZE),
        ("offset", ctypes.c_int64),
        ("private", _POINTER),
    )


@dataclass(frozen=True)
class Taken:
    """A record that the client took."""

    key: bytes
    value: bytes


_ON_NEW = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _POINTER, _SIZE)
_ON_ACKNOWLEDGEMENT = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.POINTER(Message), _POINTER)
_ON_CONF_DESTROY = ctypes.CFUNCTYPE(_INT, _POINTER)


class FakeLibrary:
    """One client. ``taken`` are on their way, at most ``room``; ``refusal`` is an error code, to refuse records."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.refusal = 0
        self.room = 100_000
        self.reports_refusals = False  # as librdkafka does when it cannot choose a partition
        self.topics: list[str] = []
        self.open_topics = 0
        self._lock = threading.Lock()  # of ``taken``, when many threads report
        self._text = ctypes.create_string_buffer(b"")
        self._on_new = self._on_acknowledgement = self._on_conf_destroy = None
        adding = (_INT, _POINTER, ctypes.c_char_p, _POINTER, _POINTER)
        self._callbacks = (
            self._made(self._add_on_new, *adding),
            self._made(self._add_on_conf_destroy, *adding),
            self._made(self._add_on_acknowledgement, *adding),
            self._made(self._error_text, _POINTER, ctypes.POINTER(Message)),
            self._made(self._topic_new, _POINTER, _POINTER, ctypes.c_char_p, _POINTER),
            self._made(self._topic_destroy, None, _POINTER),
            self._made(self._produce, _INT, _POINTER, ctypes.c_int32, _INT, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER),
            self._made(lambda: self.refusal or QUEUE_FULL, _INT),
        )

    @property
    def functions(self) -> tuple[int, ...]:
        """Their addresses, in the order of ``sending.py``."""
        return tuple(ctypes.cast(callback, _POINTER).value or 0 for callback in self._callbacks)

    def load(self) -> FakeLibrary:
        """As a client does whose configuration names the plug-in. For ``Direct.attach``."""
        # PyDLL: it is called with the interpreter's lock, as the constructor of a client is.
        assert ctypes.PyDLL(_native.__file__).conf_init(_POINTER(1), None, None, _SIZE(0)) == 0
        if self._on_new is not None:
            assert self._on_new[0](_POINTER(2), None, self._on_new[1], None, 0) == 0
        return self

    def report(self, record: Taken, error: int = 0, partition: int = 0, offset: int = -1001, text: bytes = b"") -> None:
        """What became of ``record``, as one of the client's threads says it: without the interpreter's lock."""
        with self._lock:
            if record in self.taken:
                self.taken.remove(record)
        self._text = ctypes.create_string_buffer(text)
        key, value = ctypes.create_string_buffer(record.key), ctypes.create_string_buffer(record.value)
        message = Message(
            error=error,
            partition=partition,
            offset=offset,
            value=ctypes.cast(value, _POINTER),
            size=len(record.value),
            key=ctypes.cast(key, _POINTER),
            key_size=len(record.key),
        )
        assert self._on_acknowledgement is not None
        assert self._on_acknowledgement[0](_POINTER(2), ctypes.byref(message), self._on_acknowledgement[1]) == 0

    def destroy(self) -> None:
        """The client's end."""
        assert self._on_conf_destroy is not None
        assert self._on_conf_destroy[0](self._on_conf_destroy[1]) == 0

    def _made(self, function: Callable[..., object], *types: object) -> object:
        return ctypes.CFUNCTYPE(*types)(function)  # type: ignore[arg-type]

    def _add_on_new(self, _: int, name: bytes, function: int, opaque: int) -> int:
        self._on_new = (_ON_NEW(function), opaque)
        return 0

    def _add_on_conf_destroy(self, _: int, name: bytes, function: int, opaque: int) -> int:
        self._on_conf_destroy = (_ON_CONF_DESTROY(function), opaque)
        return 0

    def _add_on_acknowledgement(self, _: int, name: bytes, function: int, opaque: int) -> int:
        self._on_acknowledgement = (_ON_ACKNOWLEDGEMENT(function), opaque)
        return 0

    def _error_text(self, message: object) -> int:
        return ctypes.addressof(self._text)

    def _topic_new(self, client: int, name: bytes, conf: object) -> int:
        self.topics.append(name.decode())
        self.open_topics += 1
        return 3

    def _topic_destroy(self, topic: int) -> None:
        self.open_topics -= 1

    def _produce(
        self, topic: int, partition: int, flags: int, value: int, size: int, key: int, key_size: int, opaque: object
    ) -> int:
        record = Taken(ctypes.string_at(key, key_size), ctypes.string_at(value, size))
        if self.refusal:
            if self.reports_refusals:
                self.report(record, error=self.refusal)
            return -1
        assert flags == COPY
        if len(self.taken) >= self.room:
            return -1
        self.taken.append(record)
        return 0
