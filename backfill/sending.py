"""Sending a run to its snapshot topic: rows split by partition into blocks, and markers behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import Unavailable, VecferryError
from ..journal.run import RunRecord
from ..log.port import Sender
from ..schemas.batch import Rows
from ..schemas.collection import MAX_RECORD_BYTES, Collection
from ..schemas.partitioner import partitions_of
from ..schemas.snapshot import (
    RUN_CLOSED,
    SnapshotMarker,
    add_digests,
    encode_snapshot_blocks,
    encode_snapshot_marker,
)

_ACK_TIMEOUT_S = 150.0  # above delivery.timeout.ms, so that the client's own verdict comes first
_POLL_S = 0.1


class SnapshotSender:
    """Sends one run under one generation; used by one thread. Making one blocks until the topic's leaders are known.

    ``sender`` is a bulk one, for this run alone; ``max_bytes`` of a block are what the topic takes.

    Every method raises Unavailable when Kafka does not take a record. The run then has to be taken up again, under a
    higher generation: what was sent of the chunk stays in the topic and does not count.
    """

    def __init__(
        self,
        sender: Sender,
        topic: str,
        collection: Collection,
        run: RunRecord,
        max_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._topic = topic
        self._collection = collection
        self._run = run
        self._failure: VecferryError | None = None
        self._sender = sender
        sender.learn(topic)
        self._kept: list[list[Rows]] = [[] for _ in range(run.partitions)]  # not sent yet; less than a block of each
        self._kept_bytes = [0] * run.partitions  # at least
        self._begin_chunk()

    def send(self, chunk: int, rows: Rows) -> None:
        """Send ``rows`` (a page of ``chunk``); blocks while the client's queue is full, not until acknowledged.

        What does not fill a block waits for the next page, or for :meth:`finish`: brokers charge by the request.
        Raises InvalidRecord, naming the row, when a row cannot be carried.
        """
        for partition, part in split_by_partition(rows, self._run.partitions):
            self._kept[partition].append(part)
            self._kept_bytes[partition] += _least_bytes(part)
            if self._kept_bytes[partition] > self._max_bytes:
                self._send_blocks(partition, chunk, more=True)

    def finish(self, chunk: int) -> None:
        """Send what :meth:`send` kept of ``chunk``; blocks until all of it is acknowledged. Raises as it does."""
        for partition, kept in enumerate(self._kept):
            if kept:
                self._send_blocks(partition, chunk, more=False)
        self._acknowledged()

    def _send_blocks(self, partition: int, chunk: int, *, more: bool) -> None:
        rows, sent = Rows.joined(self._kept[partition]), 0
        blocks = encode_snapshot_blocks(
            self._collection,
            run=self._run.run,
            chunk=chunk,
            generation=self._run.generation,
            rows=rows,
            more=more,
            max_bytes=self._max_bytes,
        )
        for block in blocks:
            self._produce(partition, block.value)
            self._digests[partition] = add_digests(self._digests[partition], block.digest)
            sent += block.rows
        self._rows[partition] += sent
        left = rows.since(sent)
        self._kept[partition] = [left] if len(left) else []
        self._kept_bytes[partition] = _least_bytes(left)

    def mark(self, chunk: int) -> int:
        """Close ``chunk`` in every partition; blocks until acknowledged. Returns the rows of the chunk.

        It must have been finished before: a marker must never arrive where a block did not.
        """
        assert not any(self._kept), f"chunk {chunk} was not finished"
        rows = sum(self._rows)
        self._send_markers(chunk, self._rows, self._digests)
        self._begin_chunk()
        return rows

    def close_run(self) -> None:
        """Close the run in every partition; blocks until acknowledged."""
        zeros = [0] * self._run.partitions
        self._send_markers(RUN_CLOSED, zeros, zeros)

    def _begin_chunk(self) -> None:
        self._rows = [0] * self._run.partitions
        self._digests = [0] * self._run.partitions

    def _send_markers(self, chunk: int, rows: Sequence[int], digests: Sequence[int]) -> None:
        for partition in range(self._run.partitions):
            marker = SnapshotMarker(
                run=self._run.run,
                chunk=chunk,
                generation=self._run.generation,
                rows=rows[partition],
                digest=digests[partition],
                chunks=self._run.chunks,
            )
            self._produce(partition, encode_snapshot_marker(marker))
        self._acknowledged()

    def _acknowledged(self) -> None:
        left = self._sender.flush(_ACK_TIMEOUT_S)
        self._check()
        if left:
            raise Unavailable(f"topic {self._topic} did not acknowledge {left} records within {_ACK_TIMEOUT_S:g} s")

    def _produce(self, partition: int, value: bytes) -> None:
        self._check()
        while not self._sender.send(self._topic, partition, value, on_failure=self._failed):
            self._sender.serve(_POLL_S)
            self._check()

    def _failed(self, failure: VecferryError) -> None:
        if self._failure is None:
            self._failure = failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


def split_by_partition(rows: Rows, partitions: int) -> list[tuple[int, Rows]]:
    """``rows`` by live partition, ascending, in their order within each; partitions without rows are left out."""
    partition_of = partitions_of(rows.ids, partitions)
    order = np.argsort(partition_of, kind="stable")
    counts = np.bincount(partition_of, minlength=partitions)
    ends = np.cumsum(counts)
    return [
        (int(partition), _take(rows, order[ends[partition] - counts[partition] : ends[partition]]))
        for partition in np.flatnonzero(counts)
    ]


def _least_bytes(rows: Rows) -> int:
    """What ``rows`` take in a block at least."""
    return rows.vectors.nbytes + sum(map(len, rows.ids)) + sum(map(len, rows.metadata))


def _take(rows: Rows, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Rows:
    at = chosen.tolist()
    return Rows(
        ids=list(map(rows.ids.__getitem__, at)),
        positions=rows.positions[chosen],
        deleted=rows.deleted[chosen],
        vectors=rows.vectors[chosen],
        metadata=list(map(rows.metadata.__getitem__, at)),
    )
