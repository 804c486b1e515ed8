"""How far the stores are and what their workers counted, from the progress topic."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Config
from ..journal.progress import LiveProgress, WorkerProgress, live_progress_key, worker_progress_key
from ..journal.reading import all_known, known
from ..log.kafka.log import KafkaLog
from ..schemas.topics import events_topic, group_id, progress_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of snapshot rows in one store and how many live events came twice, over all its workers."""

    stale: int
    superseded: int
    redelivered: int


class Watch:
    """Tails the progress topic; close it. Made after ``enrol``, which makes the topic."""

    def __init__(self, config: Config, collection: str) -> None:
        self._collection = collection
        self._partitions = config.collection(collection).partitions
        self._namespace = config.namespace
        self._topic = events_topic(config.namespace, self._collection)
        self._log = KafkaLog(config.kafka)
        self._table = self._log.table(progress_topic(config.namespace))
        self._table.sync()

    def lag(self) -> dict[str, int]:
        """Store -> events of the live topic that it has not reported as applied."""
        ends = self._log.admin.end_offsets(self._topic, self._partitions)
        return {
            store: sum(max(0, end - self._applied(store, p)) for p, end in enumerate(ends)) for store in ("old", "new")
        }

    def uncommitted(self, store: str) -> int:
        """Events that ``store`` has reported as applied and its group has not committed: a restart reads them again."""
        committed = self._log.admin.committed(
            group_id(self._namespace, self._collection, store), self._topic, self._partitions
        )
        return sum(max(0, self._applied(store, p) - committed.get(p, 0)) for p in range(self._partitions))

    def reports(self, store: str) -> bool:
        """Whether a worker of ``store`` has reported every partition."""
        return len(self._table.items(live_progress_key(self._collection, store))) == self._partitions

    def outcomes(self, store: str) -> Outcomes:
        """Counts of all workers that ``store`` ever had; a killed one counts with its last report."""
        reports = worker_progress_key(self._collection, store)
        records = all_known(self._table, reports, WorkerProgress).values()
        return Outcomes(
            stale=sum(record.snapshot.get("stale", 0) for record in records),
            superseded=sum(record.snapshot.get("superseded", 0) for record in records),
            redelivered=sum(record.redelivered for record in records),
        )

    def close(self) -> None:
        """Stop tailing."""
        self._log.close()

    def _applied(self, store: str, partition: int) -> int:
        report = known(self._table, live_progress_key(self._collection, store, partition), LiveProgress)
        return 0 if report is None else report.next_offset
