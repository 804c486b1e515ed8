"""The records of the control and progress topics: JSON documents under stable keys, newest value wins.

control topic
    collection/<c>            CollectionRecord
    route/<c>                 Route
    migration/<c>             MigrationRecord
    run/<c>/<run>             RunRecord
    plan/<c>/<run>/<page>     PlanPage
    chunk/<c>/<run>/<chunk>   ChunkDone
    group/<c>/<store>         GroupRecord
    verify/<c>                VerifyRecord
    controller/<c>            ControllerRecord

progress topic
    live/<c>/<store>/<partition>             LiveProgress
    snapshot/<c>/<store>/<run>/<partition>   SnapshotProgress
    worker/<c>/<store>/<instance>            WorkerProgress
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from .collection import IdType, Metric


class _Record(BaseModel):
    # Unknown fields are ignored, so that an older reader survives a newer writer.
    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        """JSON as UTF-8."""
        return self.model_dump_json().encode()


class CollectionRecord(_Record):
    """What the live topic was enrolled with; a configuration that says otherwise is refused.

    ``topic_id``: Kafka's own for the live topic, "" if not known. A topic made anew under the same name has another
    one: its offsets begin at 0 again, and its events would be taken for older ones.
    """

    epoch: int
    partitions: int
    dimension: int
    metric: Metric
    id_type: IdType
    stores: tuple[str, ...]
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


class Route(_Record):
    """Where reads go: ``percent`` of the keys to ``new``, the others to ``old``. ``generation`` only grows."""

    generation: int
    old: str
    new: str
    percent: int
    changed_unix_s: float


class MigrationRecord(_Record):
    """One collection's migration, step by step. ``kept_run``: while a further run is copied, the one before it, which
    the target has applied whole, with the step that it had reached.
    """

    source: str
    target: str
    step: Literal["enrolled", "copying", "copied", "indexed"]
    run: str | None = None
    started_unix_s: float
    cutovers: int = 0
    rollbacks: int = 0
    kept_run: str | None = None
    kept_step: Literal["copied", "indexed"] | None = None


class RunRecord(_Record):
    """One backfill run. ``fences``: one offset per partition that no fence of any of its chunks lies below.

    They are noted when the run is planned, since rows of a chunk that was sent twice are in the topic twice, the older
    ones scanned behind the older fence; and corrected, if a chunk's fence did lie lower, when the run is closed.
    ``generation`` rises each time a mover takes the run up, so that what an earlier one left half-sent does not count.
    """

    run: str
    source: str
    targets: tuple[str, ...]
    state: Literal["copying", "closed", "cancelled"]
    epoch: int
    partitions: int
    chunks: int
    chunk_rows: int
    estimated_rows: int
    generation: int
    created_unix_s: float
    rows: int = 0
    fences: tuple[int, ...] = ()


class PlanPage(_Record):
    """Some of a run's chunks, in order, each as the source store describes it; nobody else looks into them."""

    chunks: tuple[JsonValue, ...]


class ChunkDone(_Record):
    """A chunk whose rows and markers Kafka has acknowledged. ``fences``: one offset per partition, noted before it."""

    generation: int
    rows: int
    fences: tuple[int, ...]


class GroupRecord(_Record):
    """Where a store's consumer group began to read the live topic, per partition; written once, before it commits.

    A store may read a run only if this start lies at or below every fence of the run.
    """

    epoch: int
    live_start: tuple[int, ...]


class VerifyRecord(_Record):
    """The last verification. ``complete`` is False for one that was cut short or sampled.

    ``run``: the newest run that the target had applied before the comparison began, "" if not recorded.
    """

    source: str
    target: str
    finished_unix_s: float
    complete: bool
    checked: int
    missing: int
    extra: int
    stale: int
    corrupt: int
    undecided: int
    run: str = ""

    @property
    def differing(self) -> int:
        """Rows that were found to differ."""
        return self.missing + self.extra + self.stale + self.corrupt

    @property
    def clean(self) -> bool:
        """Nothing differs and nothing was left out."""
        return self.complete and not (self.differing or self.undecided)

    def displaces(self, known: VerifyRecord | None) -> bool:
        """Whether this one is to stand instead of ``known``, the newest so far.

        One that decided every row does, and one that found faults. One that left rows open, being a sample or
        undecided about them, says nothing against either; but what was clean before another run was applied is so no
        longer.
        """
        if known is None or (known.source, known.target) != (self.source, self.target):
            return True
        if self.differing or self._decided_all:
            return True
        return not known.differing and not (known._decided_all and known.run == self.run)

    @property
    def _decided_all(self) -> bool:
        return self.complete and not self.undecided


class ControllerRecord(_Record):
    """The heartbeat of the process that steers a collection. ``urgent``: it moves reads back."""

    instance: str
    host: str
    pid: int
    command: str
    beat_unix_s: float
    urgent: bool = False


class LiveProgress(_Record):
    """A store's applied: the next offset of this live partition. ``complete``: the store holds a full copy of it."""

    next_offset: int
    complete: bool
    beat_unix_s: float


class SnapshotProgress(_Record):
    """A store's place in one partition of a run, in whole chunks. ``problem``: why it can never be closed, or ""."""

    next_chunk: int
    closed: bool
    problem: str = ""


class WorkerProgress(_Record):
    """Outcomes since a worker process started; they add up to the events that it consumed."""

    beat_unix_s: float
    live: dict[str, int]
    snapshot: dict[str, int]
    redelivered: int


def collection_key(collection: str) -> str:
    """Key of CollectionRecord."""
    return f"collection/{collection}"


def route_key(collection: str) -> str:
    """Key of Route."""
    return f"route/{collection}"


def migration_key(collection: str) -> str:
    """Key of MigrationRecord."""
    return f"migration/{collection}"


def run_key(collection: str, run: str = "") -> str:
    """Key of RunRecord; without a run, the prefix of all runs of the collection."""
    return f"run/{collection}/{run}"


def plan_key(collection: str, run: str, page: int) -> str:
    """Key of PlanPage."""
    return f"plan/{collection}/{run}/{page}"


def chunk_key(collection: str, run: str, chunk: int | None = None) -> str:
    """Key of ChunkDone; without a chunk, the prefix of all chunks of the run."""
    return f"chunk/{collection}/{run}/{'' if chunk is None else chunk}"


def group_key(collection: str, store: str) -> str:
    """Key of GroupRecord."""
    return f"group/{collection}/{store}"


def verify_key(collection: str) -> str:
    """Key of VerifyRecord."""
    return f"verify/{collection}"


def controller_key(collection: str) -> str:
    """Key of ControllerRecord."""
    return f"controller/{collection}"


def live_progress_key(collection: str, store: str, partition: int | None = None) -> str:
    """Key of LiveProgress; without a partition, the prefix of all of them."""
    return f"live/{collection}/{store}/{'' if partition is None else partition}"


def snapshot_progress_key(collection: str, store: str, run: str, partition: int | None = None) -> str:
    """Key of SnapshotProgress; without a partition, the prefix of all of them."""
    return f"snapshot/{collection}/{store}/{run}/{'' if partition is None else partition}"


def worker_progress_key(collection: str, store: str, instance: str = "") -> str:
    """Key of WorkerProgress; without an instance, the prefix of all of them."""
    return f"worker/{collection}/{store}/{instance}"
