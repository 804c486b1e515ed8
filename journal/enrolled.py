"""Checks that the topic and configuration of a worker or a publisher are those that were enrolled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, assert_never

from ..errors import Refused
from ..log.port import Table
from ..schemas.collection import Collection
from ..schemas.fields import RowFields
from .collection import CollectionRecord, EnrolledTopic, collection_key
from .reading import known, read
from .record import Known, Unknown


class Topics(Protocol):
    """What this check needs of the log's Admin."""

    def topic_id(self, name: str) -> str: ...


def refuse_other_enrolment(control: Table, topics: Topics, collection: Collection, topic: str) -> None:
    """Raise Refused if ``topic`` was recreated since enrolment, or the configuration differs from what was enrolled.

    Offsets and marks belong to the enrolled topic; in a recreated one they would skip events. Blocks for one request;
    raises Unavailable.
    """
    record = enrolled_topic(control, collection.name)
    if record is None:
        return
    problems = _differences(record, collection)
    if another := record.topic_problem(topic, topics.topic_id(topic)):
        problems.append(another)
    if problems:
        raise Refused(problems)


def refuse_other_configuration(control: Table, collection: Collection) -> None:
    """Raise Refused when the configuration differs from what was enrolled. Does not block.

    The partition count decides where an event belongs, and the epoch decides its order. No event of another space could
    be applied, whatever part of the space differs: each would become a dead letter.
    """
    record = enrolled_topic(control, collection.name)
    if record is not None and (problems := _differences(record, collection)):
        raise Refused(problems)


def enrolled_fields(control: Table, collection: str) -> Mapping[str, RowFields]:
    """The columns of each replica as they were at enrolment; {} where an earlier release enrolled it. Does not block.

    Of a record that a later version wrote, nothing: values are then judged by the stores alone.
    """
    record = known(control, collection_key(collection), CollectionRecord)
    return {} if record is None else record.columns


def _differences(record: EnrolledTopic, collection: Collection) -> list[str]:
    return [f"{found.problem}; {found.remedy}" for found in record.differences(collection)]


def enrolled_topic(control: Table, collection: str) -> EnrolledTopic | None:
    """What the live topic was enrolled with; None before that. Of an Unknown record, the part that nobody may ignore.

    Does not block; raises Refused where that part is not known either.
    """
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
