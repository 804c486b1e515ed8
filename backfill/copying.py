"""Copying a run: its open chunks in order, each journaled once Kafka has all of it, then the closing markers."""

from __future__ import annotations

from .. import failpoints
from ..errors import Refused
from ..journal.run import ChunkDone, RunRecord, chunk_key, run_key
from ..journal.runs import read_done, read_group, read_plan
from ..schemas.topics import snapshot_topic
from .context import Context, Mover
from .pacing import Pacer
from .plan import closed_run, first_open_chunk
from .progress import OnProgress, Progress, RateMeter, share_done
from .scanning import ChunkEnd, Page, Scanner
from .screening import block_bytes, carried
from .sending import SnapshotSender

_REPORT_INTERVAL_S = 0.5
_PLAN_S = 2.0  # a commit is seen after some milliseconds, unless a transaction of another collection is open


def copy_run(mover: Mover, run: RunRecord, on_progress: OnProgress) -> RunRecord:
    """Copy what is left of ``run`` (as :func:`open_run` returned it) and close it; returns the closed run.

    Blocks, for as long as the throttle says too. ``on_progress`` is called in this thread, at least once a second.
    May be killed anywhere: ``open_run`` takes the run up again at the first chunk that is not journaled as done.
    A row that the log cannot carry is left behind if the run skips those. Raises Refused for it otherwise, and when
    another controller took over; Unavailable, and what the source raises.
    """
    context = mover.context
    if run.state != "copying":
        raise Refused(f"run {run.run} is {run.state}, there is nothing to copy")
    _await_plan(context, run)
    done = read_done(context.control, context.name, run.run)
    pacer = Pacer(mover, (run.source, *run.targets))
    scanner = Scanner(
        mover,
        read_plan(context.control, context.name, run),
        first=first_open_chunk(done, run.chunks),
        live_starts=_live_starts(context, run),
        pacer=pacer,
    )
    topic = snapshot_topic(context.config.namespace, context.name, run.run)
    with scanner:
        max_bytes = block_bytes(context.log.admin, topic)
        sender = SnapshotSender(mover.sender, topic, context.collection, run, max_bytes)
        copy = _Copy(mover, run, sender, max_bytes, pacer, done, on_progress)
        copy.chunks(scanner)
    return copy.close()


def _await_plan(context: Context, run: RunRecord) -> None:
    """Wait until the view shows ``run`` as :func:`open_run` wrote it, and with it the plan, of the same transaction.

    To learn that nothing more is there takes a fetch that waits in vain: 0.1 s in which nobody copies.
    """
    key, written = run_key(context.name, run.run), run.encode()
    if not context.control.wait_for(lambda: context.control.get(key) == written, _PLAN_S):
        context.control.sync()


def _live_starts(context: Context, run: RunRecord) -> dict[str, tuple[int, ...]]:
    groups = {store: read_group(context.control, context.name, store) for store in run.targets}
    return {store: group.live_start for store, group in groups.items() if group is not None}


class _Copy:
    """One take-up of one run."""

    def __init__(
        self,
        mover: Mover,
        run: RunRecord,
        sender: SnapshotSender,
        max_bytes: int,
        pacer: Pacer,
        done: dict[int, ChunkDone],
        on_progress: OnProgress,
    ) -> None:
        context = mover.context
        self._context = context
        self._writer = mover.writer
        self._run = run
        self._sender = sender
        self._max_bytes = max_bytes
        self._done = done
        self._on_progress = on_progress
        self._pacer = pacer
        self._rows = sum(chunk.rows for chunk in done.values())
        self._meter = RateMeter(context.clock.monotonic_s(), self._rows)
        self._skipped = 0  # of the chunk under way
        self._reported_s = float("-inf")

    def chunks(self, scanner: Scanner) -> None:
        """Send every chunk that is not done."""
        while len(self._done) < self._run.chunks:
            match scanner.next(_REPORT_INTERVAL_S):
                case Page(chunk=chunk, rows=rows):
                    kept = carried(rows, self._context.collection, self._run, self._max_bytes)
                    self._sender.send(chunk, kept)
                    self._rows += len(kept)
                    self._skipped += len(rows) - len(kept)
                case ChunkEnd(chunk=chunk, fences=fences):
                    self._finish_chunk(chunk, fences)
                case None:
                    pass
            self._report("copying")

    def close(self) -> RunRecord:
        """Send the closing markers and journal the run as closed."""
        failpoints.hit("backfill.closing")
        self._report("closing", now=True)
        self._sender.close_run()
        closed = closed_run(self._run, self._done)
        self._writer.write({run_key(self._context.name, self._run.run): closed})
        failpoints.hit("backfill.closed")
        self._on_progress(
            Progress(
                phase="copied",
                chunks_done=closed.chunks,
                chunks=closed.chunks,
                rows=closed.rows,
                percent=100.0,
                rows_per_s=self._rate(),
                eta_s=0.0,
            )
        )
        return closed

    def _finish_chunk(self, chunk: int, fences: tuple[int, ...]) -> None:
        self._sender.finish(chunk)
        failpoints.hit("backfill.produced")
        rows = self._sender.mark(chunk)
        failpoints.hit("backfill.marked")
        record = ChunkDone(generation=self._run.generation, rows=rows, skipped=self._skipped, fences=fences)
        self._skipped = 0
        self._writer.write({chunk_key(self._context.name, self._run.run, chunk): record})
        self._done[chunk] = record
        failpoints.hit("backfill.chunk-done")

    def _rate(self) -> float:
        return self._meter.rows_per_s(self._context.clock.monotonic_s(), self._rows)

    def _report(self, phase: str, *, now: bool = False) -> None:
        now_s = self._context.clock.monotonic_s()
        if not now and now_s - self._reported_s < _REPORT_INTERVAL_S:
            return
        self._reported_s = now_s
        rate = self._rate()
        percent, eta_s = share_done(self._rows, self._run.estimated_rows, rate)
        self._on_progress(
            Progress(
                phase=phase,
                chunks_done=len(self._done),
                chunks=self._run.chunks,
                rows=self._rows,
                percent=percent,
                rows_per_s=rate,
                eta_s=eta_s,
                throttled=self._pacer.cause,
                note=self._pacer.note,
            )
        )
