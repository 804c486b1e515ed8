"""Whether a worker or a publisher looks at what was enrolled: the same topic, divided and embedded as configured."""

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

    Offsets and marks speak of the enrolled topic: in another one they would pass over its events. Blocks for one
    request; raises Unavailable.
    """
    record = _enrolled(control, collection.name)
    if record is None:
        return
    problems = _differences(record, collection)
    if another := record.topic_problem(topic, topics.topic_id(topic)):
        problems.append(another)
    if problems:
        raise Refused(problems)


def refuse_other_configuration(control: Table, collection: Collection) -> None:
    """Raise Refused when the configuration has left what was enrolled. Does not block.

    Partitions and epoch decide of every event where it belongs and what it is newer than. And of another space, model
    and version included, no event could be applied: each would be dead-lettered by itself.
    """
    record = _enrolled(control, collection.name)
    if record is not None and (problems := _differences(record, collection)):
        raise Refused(problems)


def _differences(record: EnrolledTopic, collection: Collection) -> list[str]:
    return [f"{found.problem}; {found.remedy}" for found in record.differences(collection)]


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
