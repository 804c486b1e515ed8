"""The compiled sender on a client whose reports the test writes."""

from __future__ import annotations

import numpy as np
import pytest
from fake_librdkafka import FakeLibrary
from vecferry.producers import sending
from vecferry.producers.delivery import BatchDelivery, Delivery
from vecferry.producers.outstanding import Book
from vecferry.producers.records import event_id_at, event_ids, plain_encoder
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space

PARTITIONS = 4
COLLECTION = Collection(
    name="products", space=Space(model="m", version="1", dimension=2, metric="dot"), partitions=PARTITIONS
)
VECTOR = np.ones(2, np.float32)


class World:
    """A sender on a client whose reports the test writes."""

    def __init__(self) -> None:
        self.outgrown: list[str] = []
        self.book = Book("t", epoch=1, partitions=PARTITIONS, on_outgrown=self.outgrown.append)
        self.library = FakeLibrary()
        plain = plain_encoder(COLLECTION, None, bytes(8))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sending, "functions_of_the_client", lambda: self.library.functions)
            patch.setattr(sending, "Producer", lambda config: self.library.load())
            self.sender = sending.DirectSender({}, "t", self.book, event_id_at(COLLECTION), plain)
        self.sender.open()
        self._encoder = EventEncoder(COLLECTION)
        self._ids = event_ids(bytes(8), first=1 << 63)

    def upsert(self, id_: str = "a") -> Delivery | None:
        return self.sender.upsert(id_, VECTOR, None, 0.0)

    def send(self, delivery: Delivery | BatchDelivery, id_: str = "a") -> None:
        value = self._encoder.upsert(id_.encode(), VECTOR, b"{}", event_id=next(self._ids), occurred_at_ms=0)
        self.sender.send(id_.encode(), value, delivery)

    def tell(self) -> None:
        self.sender.drain()
        self.sender.tell()

    def delivered(self) -> Delivery:
        delivery = Delivery(self.book, "a")
        self.send(delivery)
        return delivery
