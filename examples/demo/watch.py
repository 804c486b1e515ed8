"""How far the stores are and what their workers counted, from the progress topic."""

from __future__ import annotations

from dataclasses import dataclass

from catalogue import COLLECTION, PARTITIONS
from vecferry.config import Config
from vecferry.journal.progress import LiveProgress, WorkerProgress, live_progress_key, worker_progress_key
from vecferry.log.kafka.admin import Admin
from vecferry.log.kafka.view import CompactedView
from vecferry.schemas.topics import events_topic, group_id, progress_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of snapshot rows in one store and how many live events came twice, over all its workers."""

    stale: int
    superseded: int
    redelivered: int


class Watch:
    """Tails the progress topic; close it. Made after ``enrol``, which makes the topic."""

    def __init__(self, config: Config) -> None:
        self._namespace = config.namespace
        self._topic = events_topic(config.namespace, COLLECTION)
        self._admin = Admin(config.kafka)
        self._view = CompactedView(config.kafka, progress_topic(config.namespace))

    def lag(self) -> dict[str, int]:
        """Store -> events of the live topic that it has not reported as applied."""
        ends = self._admin.end_offsets(self._topic, PARTITIONS)
        return {
            store: sum(max(0, end - self._applied(store, p)) for p, end in enumerate(ends)) for store in ("old", "new")
        }

    def uncommitted(self, store: str) -> int:
        """Events that ``store`` has reported as applied and its group has not committed: a restart reads them again."""
        committed = self._admin.committed(group_id(self._namespace, COLLECTION, store), self._topic, PARTITIONS)
        return sum(max(0, self._applied(store, p) - committed.get(p, 0)) for p in range(PARTITIONS))

    def reports(self, store: str) -> bool:
        """Whether a worker of ``store`` has reported every partition."""
        return len(self._view.items(live_progress_key(COLLECTION, store))) == PARTITIONS

    def outcomes(self, store: str) -> Outcomes:
        """Counts of all workers that ``store`` ever had; a killed one counts with its last report."""
        records = [
            WorkerProgress.model_validate_json(value)
            for value in self._view.items(worker_progress_key(COLLECTION, store)).values()
        ]
        return Outcomes(
            stale=sum(record.snapshot.get("stale", 0) for record in records),
            superseded=sum(record.snapshot.get("superseded", 0) for record in records),
            redelivered=sum(record.redelivered for record in records),
        )

    def close(self) -> None:
        """Stop tailing."""
        self._view.close()

    def _applied(self, store: str, partition: int) -> int:
        value = self._view.get(live_progress_key(COLLECTION, store, partition))
        return 0 if value is None else LiveProgress.model_validate_json(value).next_offset
