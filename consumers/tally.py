"""Whether a snapshot partition arrived whole: chunk by chunk, by row count and digest. Pure.

A mover sends the chunks of a run in order. After each chunk it sends a marker to every partition, with the number and
the digest of the rows that it sent there. A chunk counts only if the rows that arrived match its marker, and only after
all earlier chunks. So a chunk that failed, was skipped or lost rows never counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..schemas.snapshot import RUN_CLOSED, SnapshotBlock, SnapshotMarker, add_digests


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What has arrived of one partition of one run.

    ``next_chunk`` chunks are applied without a gap; ``rows`` and ``digest`` count the part of the next one that has
    arrived from the mover's ``generation``. ``problem`` is final: the partition cannot become complete by this run.
    """

    next_chunk: int = 0
    generation: int = 0
    rows: int = 0
    digest: int = 0
    closed: bool = False
    problem: str = ""


def count_block(tally: Tally, block: SnapshotBlock) -> Tally:
    """The tally after ``block``. Blocks of another chunk, or of an older mover, do not count."""
    tally = _follow(tally, block.generation)
    if block.generation < tally.generation or block.chunk != tally.next_chunk:
        return tally
    digest = add_digests(tally.digest, block.digest)
    return replace(tally, rows=tally.rows + len(block.events), digest=digest)


def close_chunk(tally: Tally, marker: SnapshotMarker) -> tuple[Tally, bool]:
    """The tally after ``marker``, and whether a worker may resume the partition after it.

    It may if no row of the next chunk has been counted: right after a chunk, or after the run's closing marker.
    """
    tally = _follow(tally, marker.generation)
    if marker.generation < tally.generation or tally.problem:
        return tally, False
    if tally.closed or RUN_CLOSED < marker.chunk < tally.next_chunk:
        return tally, True  # sent again by a mover that died before it could note it
    if marker.chunk == RUN_CLOSED:
        if tally.next_chunk != marker.chunks:
            return replace(tally, problem=f"closed after {tally.next_chunk} of {marker.chunks} chunks"), False
        return replace(tally, closed=True), True
    if marker.chunk > tally.next_chunk:
        return replace(tally, problem=f"chunk {tally.next_chunk} is missing: chunk {marker.chunk} came first"), False
    if (marker.rows, marker.digest) != (tally.rows, tally.digest):
        arrived = f"{tally.rows} rows (digest {tally.digest})"
        sent = f"{marker.rows} ({marker.digest})"
        return replace(tally, problem=f"chunk {marker.chunk} arrived with {arrived} instead of {sent}"), False
    return replace(tally, next_chunk=marker.chunk + 1, rows=0, digest=0), True


def _follow(tally: Tally, generation: int) -> Tally:
    """A newer mover sends the chunk that the older one left half-sent again, from its start."""
    return replace(tally, generation=generation, rows=0, digest=0) if generation > tally.generation else tally
