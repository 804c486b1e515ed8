from confluent_kafka import KafkaError, Message

from .outstanding import Book, Waiters

class Ack:
    _book: Book
    _done: bool
    _waiters: Waiters
    _error: KafkaError | None
    _partition: int
    _offset: int
    id: str
    def __new__(cls, book: Book, id_: str, /) -> Ack: ...
    def __call__(self, error: KafkaError | None, message: Message, /) -> None: ...
    def _finish(self) -> None: ...

class BatchAck:
    _book: Book
    _done: bool
    _waiters: Waiters
    _acknowledged: int
    _failures: int
    _offsets: dict[int, int]
    _sent: int
    first_id: str
    def __new__(cls, book: Book, first_id: str, /) -> BatchAck: ...
    def __call__(self, error: KafkaError | None, message: Message, /) -> None: ...
    def _finish_if_complete(self) -> None: ...
