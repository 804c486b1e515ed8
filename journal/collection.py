"""Control topic, ``collection/<c>``: what a collection was enrolled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..schemas.collection import Collection, IdType, Metric
from ..schemas.fields import RowFields
from .record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key of ``[collections.NAME]`` that has another value than the collection was enrolled with."""

    collection: str
    key: str
    enrolled: str | int
    configured: str | int

    @property
    def problem(self) -> str:
        """What is wrong."""
        return (
            f"{self.collection} was enrolled with {self.key} {self.enrolled}, the configuration says {self.configured}"
        )

    @property
    def remedy(self) -> str:
        """How to go on with the collection as it was enrolled."""
        value = f'"{self.enrolled}"' if isinstance(self.enrolled, str) else self.enrolled
        return f"set collections.{self.collection}.{self.key} = {value}"


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

    def differences(self, collection: Collection) -> tuple[Difference, ...]:
        """What ``collection``, as configured, has otherwise than it was enrolled; () when nothing."""
        configured: dict[str, str | int] = {
            "epoch": collection.epoch,
            "partitions": collection.partitions,
            "dimension": collection.space.dimension,
            "metric": collection.space.metric,
            "id_type": collection.id_type,
            "space.model": collection.space.model,
            "space.version": collection.space.version,
        }
        return tuple(
            Difference(collection=collection.name, key=key, enrolled=enrolled, configured=configured[key])
            for key, enrolled in self._kept().items()
            if enrolled != configured[key]
        )

    def _kept(self) -> dict[str, str | int]:
        return {"epoch": self.epoch, "partitions": self.partitions}


class CollectionRecord(EnrolledTopic):
    """What the live topic was enrolled with; a configuration that says otherwise is refused.

    ``space_model`` and ``space_version``: of the embedding model; "" where an earlier release enrolled the collection.
    ``columns``: replica -> the types of its columns, as of the last enrolment; {} where an earlier release did it.
    """

    dimension: int
    metric: Metric
    id_type: IdType
    stores: tuple[str, ...]
    space_model: str = ""
    space_version: str = ""
    columns: Mapping[str, RowFields] = {}

    def _kept(self) -> dict[str, str | int]:
        model = {"space.model": self.space_model, "space.version": self.space_version}
        return {
            **super()._kept(),
            "dimension": self.dimension,
            "metric": self.metric,
            "id_type": self.id_type,
            **{key: value for key, value in model.items() if value},
        }


def collection_key(collection: str) -> str:
    """Key of CollectionRecord."""
    return f"collection/{collection}"
