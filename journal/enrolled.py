"""Checks that a worker's topic and configuration are those that were enrolled."""

from __future__ import annotations

from typing import Protocol, assert_never

from ..errors import Refused
from ..log.port import Table
from ..schemas.collection import Collection
from .collection import CollectionRecord, EnrolledTopic, collection_key
from .reading import read
from .record import Known, Unknown


class Topics(Protocol):
    """What this check needs of the log's Admin."""

    def topic_id(self, name: str) -> str: ...


def refuse_other_enrolment(control: Table, topics: Topics, collection: Collection, topic: str) -> None:
    """Raise Refused if ``topic`` was recreated since enrolment, or the configuration differs from what was enrolled.

    Offsets and marks belong to the enrolled topic; in a recreated one they would skip events. The partition count
    decides where an event belongs, and the epoch decides its order. Blocks for one request; raises Unavailable.
    """
    record = _enrolled(control, collection.name)
    if record is None:
        return
    problems = [
        f"{collection.name} was enrolled with {key} {enrolled}, the configuration of this worker says {configured}; "
        f"set collections.{collection.name}.{key} = {enrolled}"
        for key, enrolled, configured in (
            ("partitions", record.partitions, collection.partitions),
            ("epoch", record.epoch, collection.epoch),
        )
        if enrolled != configured
    ]
    if another := record.topic_problem(topic, topics.topic_id(topic)):
        problems.append(another)
    if problems:
        raise Refused(problems)


def _enrolled(control: Table, collection: str) -> EnrolledTopic | None:
    """The enrolled topic. Of an Unknown record, only the part that a worker must obey."""
    match read(control, collection_key(collection), CollectionRecord):
        case None:
            return None
        case Known(record=record):
            return record
        case Unknown() as unknown:
            part = unknown.part(EnrolledTopic)
            if part is None:
                raise unknown.refusal()
            return part
        case other:
            assert_never(other)
