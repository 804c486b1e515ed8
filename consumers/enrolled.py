"""Whether a worker looks at what was enrolled: the same topic, divided as its configuration says."""

from __future__ import annotations

from ..errors import Refused
from ..log.port import Admin, Table
from ..schemas.collection import Collection
from ..schemas.control import CollectionRecord, collection_key


def refuse_other_enrolment(control: Table, admin: Admin, collection: Collection, topic: str) -> None:
    """Raise Refused when ``topic`` was made anew since, or the configuration has left what was enrolled.

    Offsets and marks speak of the enrolled topic: in another one they would pass over its events. Partitions and epoch
    decide of every event where it belongs and what it is newer than. Blocks for one request; raises Unavailable.
    """
    value = control.get(collection_key(collection.name))
    if value is None:
        return
    record = CollectionRecord.model_validate_json(value)
    problems = [
        f"{collection.name} was enrolled with {key} {enrolled}, the configuration of this worker says {configured}; "
        f"set collections.{collection.name}.{key} = {enrolled}"
        for key, enrolled, configured in (
            ("partitions", record.partitions, collection.partitions),
            ("epoch", record.epoch, collection.epoch),
        )
        if enrolled != configured
    ]
    if another := record.topic_problem(topic, admin.topic_id(topic)):
        problems.append(another)
    if problems:
        raise Refused(problems)
