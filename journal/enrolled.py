"""Whether a worker looks at what was enrolled: the same topic, divided as its configuration says."""

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
    """Raise Refused when ``topic`` was made anew since, or the configuration has left what was enrolled.

    Offsets and marks speak of the enrolled topic: in another one they would pass over its events. Partitions and epoch
    decide of every event where it belongs and what it is newer than. Blocks for one request; raises Unavailable.
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
    """Of a record that a later version wrote, the part that a worker must not go against."""
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
