"""Everything that is known about one collection's migration at one moment: what gates and ``status`` judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..journal.controller import ControllerRecord
from ..journal.migration import MigrationRecord, VerifyRecord
from ..journal.progress import LiveProgress, WorkerProgress
from ..journal.route import Route
from ..journal.run import RunRecord
from ..log.port import held_back
from ..schemas.batch import Applied
from ..schemas.collection import Replica
from ..stores.base import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Values only; None = not known or not there yet.

    source, target  the replicas that reads leave, and go to
    begin, end      first offset still in the live topic, and its end; one per partition
    stable          up to where readers of the live topic come: below its end while a transaction is open there
    live            replica -> partition -> what its worker last reported
    committed       replica -> partition -> committed offset of its group
    workers         replica -> worker instance -> its counts
    dead_letters    keys of the unresolved letters; None without a dead-letter topic
    run_chunks_done chunks of ``run`` that Kafka has acknowledged; ``run_rows_done`` their rows
    run_applied     partitions of ``run`` that the target has applied to their end
    run_problems    why the target can never close ``run``, one line each
    size            what the target takes, and at most should
    held            the target's own marks; ``index_ready`` its own word; ``index_problem`` says why there is none, and
                    ``no_index`` why there can be no index
    source_held     the source's own marks; ``source_problem`` says why there are none
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
    source_held: Applied | None = None
    source_problem: str = ""
    stable: tuple[int, ...] | None = None
    events: str = ""
    size: Size | None = None

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

    def own_word(self, replica: Replica) -> Applied | None:
        """The marks that ``replica`` itself has; None when it did not say."""
        return self.held if replica == self.target else self.source_held

    def silence(self, replica: Replica) -> str:
        """Why there is no word of ``replica`` itself."""
        return (self.index_problem if replica == self.target else self.source_problem) or "not known"

    def next_offset(self, replica: Replica, partition: int) -> int:
        """Up to where ``replica`` has applied a reported ``partition``: as reported, or less if it says so itself.

        A report may be older than the table: one that was made anew, or a server that lacks the last writes.
        """
        reported = self.live[replica.name][partition].next_offset
        held = self.own_word(replica)
        return reported if held is None else min(reported, held.live.get(partition, 0))

    def held_back(self) -> Mapping[int, int]:
        """As ``log.port.held_back``."""
        return {} if self.stable is None or self.end is None else held_back(self.stable, self.end)
