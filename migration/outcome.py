"""What became of a run in one replica."""

from __future__ import annotations

from dataclasses import dataclass

from ..backfill.context import Context
from ..journal.runs import read_run
from ..schemas.dead_letters import parse_origin
from ..schemas.topics import snapshot_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """``rows`` were copied; the log could not carry ``skipped`` ones, and the replica could not take ``dead_letters``.

    Dead letters that were resolved since do not count.
    """

    run: str
    into: str
    rows: int
    skipped: int
    dead_letters: int


def outcome_of(context: Context, run: str, into: str) -> RunOutcome:
    """The outcome of the closed ``run`` in the replica ``into``, which has applied it. Blocks while topics are read.

    A worker has a letter acknowledged before its store's mark passes the row, so none is missed.
    """
    context.sync()
    record = read_run(context.control, context.name, run)
    topic = snapshot_topic(context.config.namespace, context.name, run)
    origins = map(parse_origin, context.letters.items(f"{into}/{topic}/"))
    letters = sum((origin.store, origin.topic) == (into, topic) for origin in origins)
    return RunOutcome(run=run, into=into, rows=record.rows, skipped=record.skipped, dead_letters=letters)
