"""Control topic, ``collection/<c>``: what a collection was enrolled with."""

from __future__ import annotations

from ..schemas.collection import IdType, Metric
from .record import Record


class EnrolledTopic(Record):
    """The part of a collection's record that decides the partition and the order of every event.

    ``topic_id``: Kafka's own for the live topic, "" if not known. A topic made anew under the same name has another
    one: its offsets begin at 0 again, and its events would be taken for older ones.
    """

    epoch: int
    partitions: int
    topic_id: str = ""

    def topic_problem(self, name: str, topic_id: str) -> str:
        """What is wrong, remedy included, when the live topic ``name`` is now ``topic_id``; "" if it is the same."""
        if not self.topic_id or not topic_id or self.topic_id == topic_id:
            return ""
        return (
            f"topic {name} was deleted and made anew since the collection was enrolled: its events would be taken for "
            f"older ones than those already applied; take another namespace, set epoch = {self.epoch + 1} for the "
            "collection, enrol and copy again"
        )


class CollectionRecord(EnrolledTopic):
    """What the live topic was enrolled with; a configuration that says otherwise is refused."""

    dimension: int
    metric: Metric
    id_type: IdType
    stores: tuple[str, ...]


def collection_key(collection: str) -> str:
    """Key of CollectionRecord."""
    return f"collection/{collection}"
