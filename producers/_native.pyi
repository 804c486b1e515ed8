from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError

from .delivery import BatchDelivery, Delivery
from .outstanding import Book, Outstanding, Waiters

_Client = TypeVar("_Client")

class Ack:
    _book: Book
    _done: bool
    _waiters: Waiters
    _error: KafkaError | None
    _partition: int
    _offset: int
    id: str
    def __new__(cls, book: Book, id_: str, /) -> Ack: ...

class BatchAck:
    _book: Book
    _done: bool
    _waiters: Waiters
    _acknowledged: int
    _failures: int
    _offsets: dict[int, int]
    _sent: int
    taken: int
    first_id: str
    def __new__(cls, book: Book, first_id: str, /) -> BatchAck: ...

class Direct:
    def __new__(
        cls,
        *,
        functions: tuple[int, ...],
        event_id_at: int,
        partitions: int,
        refuse: Callable[[int], None],
        book: Book,
        delivery: type[Delivery],
        encoder: PlainEncoder | None,
    ) -> Direct: ...
    def attach(self, make: Callable[[], _Client], /) -> _Client: ...
    def open(self, topic: str, /) -> None: ...
    def close(self) -> None: ...
    def upsert(self, id: object, vector: object, metadata: object, unix_s: float, /) -> Delivery | None: ...
    def send(self, key: bytes, value: bytes, delivery: Delivery | BatchDelivery, /) -> None: ...
    def send_rows(
        self,
        batch: BatchDelivery,
        keys: list[bytes],
        vectors: object,
        metadata: list[bytes],
        unix_s: float,
        start: int,
        stop: int,
        /,
    ) -> int: ...
    def mark(self) -> int: ...
    def last(self, mark: int, /) -> Outstanding | None: ...
    def pending(self) -> list[tuple[int, Outstanding]]: ...
    def drain(self) -> bool: ...
    def untold(self) -> tuple[int, Outstanding, tuple[int, bytes, int, int, bytes] | None] | None: ...
    def told(self, record: int, /) -> None: ...

class PlainEncoder:
    def __new__(
        cls,
        *,
        prefix: bytes,
        before_vector: bytes,
        fields: frozenset[str] | None,
        dumps: Any,
        dimension: int,
        max_id_bytes: int,
        max_metadata_bytes: int,
        directed: bool,
        random: bytes,
    ) -> PlainEncoder: ...
    def upsert(self, id: object, vector: object, metadata: object, unix_s: float, /) -> tuple[bytes, bytes] | None: ...
    def parts(self, ids: list[str], metadata: list[Any], /) -> tuple[list[bytes], list[bytes]] | None: ...
    def records(
        self, keys: list[bytes], vectors: object, metadata: list[bytes], unix_s: float, start: int, stop: int, /
    ) -> list[tuple[bytes, bytes]]: ...
