"""Everything that is known about one collection's migration at one moment: what gates and ``status`` judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..journal.controller import ControllerRecord
from ..journal.migration import MigrationRecord, VerifyRecord
from ..journal.progress import LiveProgress, WorkerProgress
from ..journal.route import Route
from ..journal.run import RunRecord
from ..schemas.batch import Applied
from ..schemas.collection import Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Values only; None = not known or not there yet.

    source, target  the replicas that reads leave, and go to
    begin, end      first offset still in the live topic, and its end; one per partition
    live            replica -> partition -> what its worker last reported
    committed       replica -> partition -> committed offset of its group
    workers         replica -> worker instance -> its counts
    dead_letters    keys of the unresolved letters; None without a dead-letter topic
    run_chunks_done chunks of ``run`` that Kafka has acknowledged; ``run_rows_done`` their rows
    run_applied     partitions of ``run`` that the target has applied to their end
    run_problems    why the target can never close ``run``, one line each
    held            the target's own marks; ``index_ready`` its own word; ``index_problem`` says why there is none, and
                    ``no_index`` why there can be no index
    """

    collection: str
    source: Replica
    target: Replica
    partitions: int
    now_unix_s: float
    migration: MigrationRecord | None
    route: Route | None
    run: RunRecord | None
    run_chunks_done: int
    run_rows_done: int
    run_applied: int
    run_problems: tuple[str, ...]
    verify: VerifyRecord | None
    controller: ControllerRecord | None
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    live: Mapping[str, Mapping[int, LiveProgress]]
    committed: Mapping[str, Mapping[int, int]]
    workers: Mapping[str, Mapping[str, WorkerProgress]]
    dead_letters: tuple[str, ...] | None
    held: Applied | None
    index_ready: bool | None
    index_problem: str = ""
    no_index: str = ""

    @property
    def percent(self) -> int:
        """Percent of the keys whose reads have left the source."""
        return 0 if self.route is None else self.route.moved(self.source.name)

    def holds_run(self, partition: int) -> bool:
        """Whether the target itself says so: what a worker has reported may be older than the target's table."""
        if self.run is None or self.held is None:
            return False
        mark = self.held.snapshots.get((self.run.run, partition))
        return partition in self.held.complete and mark is not None and mark.closed

    def running_workers(self, replica: Replica, within_s: float) -> list[str]:
        """The worker processes of ``replica`` that were heard so lately, whatever they have to say of partitions."""
        workers = self.workers.get(replica.name, {})
        return sorted(name for name, one in workers.items() if abs(self.now_unix_s - one.beat_unix_s) <= within_s)

    def next_offset(self, replica: Replica, partition: int) -> int:
        """Up to where ``replica`` has applied a reported ``partition``: as reported, or less if the target says so."""
        reported = self.live[replica.name][partition].next_offset
        if replica != self.target or self.held is None:
            return reported
        return min(reported, self.held.live.get(partition, 0))
