"""Looking through a source, before a copy, for rows that the log cannot carry; and leaving them out of the copy."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..compare.uncarried import Obstacle, uncarried
from ..errors import Refused
from ..journal.run import RunRecord
from ..log.port import Admin
from ..log.topics import largest_record
from ..schemas.batch import Rows
from ..schemas.collection import MAX_RECORD_BYTES, Collection
from .context import Mover
from .pacing import Pacer
from .plan import page_rows
from .progress import OnProgress, Progress, RateMeter, share_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncarried:
    """One row of the source that the log cannot carry."""

    id: str
    position: int
    obstacle: Obstacle


OnUncarried = Callable[[Uncarried], None]


def block_bytes(admin: Admin, topic: str) -> int:
    """How long a block may be, framing left out: as long as a record at most, and as ``topic`` takes."""
    described = admin.topics([topic]).get(topic)
    return min(MAX_RECORD_BYTES, MAX_RECORD_BYTES if described is None else largest_record(described))


def screen(mover: Mover, targets: tuple[str, ...], on_found: OnUncarried, on_progress: OnProgress) -> Counter[str]:
    """Read every row of the source once and return how many cannot be carried, by cause; ``on_found`` gets each.

    Blocks; waits as a copy does while the source is slow or a store is behind, and knows no other limit. Raises what
    the source raises.
    """
    context = mover.context
    pacer = Pacer(mover, (context.source, *targets))
    never = threading.Event()
    size = page_rows(context.config.backfill.chunk_rows, context.collection.space.dimension)
    estimated, done = mover.source.count(), 0
    meter = RateMeter(context.clock.monotonic_s())
    max_bytes = block_bytes(context.log.admin, context.events)  # the topic of the run is made alike
    causes: Counter[str] = Counter()
    for chunk in mover.source.plan_chunks(context.config.backfill.chunk_rows):
        pacer.wait_turn(never)
        for rows in mover.source.scan(chunk, size):
            for found in _found(rows, context.collection, max_bytes):
                causes[found.obstacle.cause.value] += 1
                on_found(found)
            done += len(rows)
            rate = meter.rows_per_s(context.clock.monotonic_s(), done)
            percent, eta_s = share_done(done, estimated, rate)
            on_progress(
                Progress(
                    phase="looking for rows that cannot be copied",
                    rows=done,
                    percent=percent,
                    rows_per_s=rate,
                    eta_s=eta_s,
                    throttled=pacer.cause,
                )
            )
    return causes


def _found(rows: Rows, collection: Collection, max_bytes: int) -> list[Uncarried]:
    return [
        Uncarried(id=rows.ids[row], position=int(rows.positions[row]), obstacle=obstacle)
        for row, obstacle in sorted(uncarried(rows, collection, max_bytes).items())
    ]


def carried(rows: Rows, collection: Collection, run: RunRecord, max_bytes: int) -> Rows:
    """The ``rows`` that can be carried; raises Refused for another one unless ``run`` skips those."""
    obstacles = uncarried(rows, collection, max_bytes)
    if not obstacles:
        return rows
    if not run.skips:
        row, obstacle = min(obstacles.items())
        start = f"vecferry start {collection.name}"
        raise Refused(
            f"row {rows.ids[row]!r} of {run.source} cannot be copied: {obstacle.detail}; publish the id again with "
            f"values that can be copied and run `{start}`, or leave such rows behind with `{start} --skip-uncarried`"
        )
    kept = np.ones(len(rows), np.bool_)
    kept[list(obstacles)] = False
    return rows.where(kept)
