"""What an operator sees in a terminal of 80 columns and 24 lines."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from migration_facts import NEW, NOW_S, OLD, RUN, VERIFIED, ready, report
from step_clock import StepClock
from vecferry.backfill.progress import Progress
from vecferry.cli.brief import brief
from vecferry.cli.output import Console, Result, Table
from vecferry.cli.progress import duration, lines, reporting
from vecferry.cli.status import result_of, watch
from vecferry.config import GatesSection
from vecferry.errors import Refused, Unavailable
from vecferry.journal.controller import ControllerRecord
from vecferry.journal.progress import WorkerProgress
from vecferry.migration.facts import Facts
from vecferry.migration.status import Status, summarise

COLUMNS, LINES = 80, 24
LONG = "a-replica-with-quite-a-long-name"


def status_of(facts: Facts) -> Status:
    return summarise(facts, GatesSection())


def nothing_known() -> Facts:
    """A name of 32 characters for each replica, and not one gate that passes."""
    old, new = replace(OLD, name=f"old-{LONG}"), replace(NEW, name=f"new-{LONG}")
    return replace(
        ready(),
        source=old,
        target=new,
        verify=VERIFIED.model_copy(update={"source": old.name, "target": new.name, "missing": 123_456, "stale": 7}),
        run=RUN.model_copy(update={"state": "copying", "chunks": 1_000, "rows": 10_000_000}),
        controller=ControllerRecord(
            instance="i", command="start products", host="controller-7.example.org", pid=123_456, beat_unix_s=NOW_S - 3
        ),
        live={},
        committed={},
        dead_letters=(f"{new.name}/shop.products.events/0/1/0",),
        index_ready=None,
        index_problem="PostgreSQL at db.example.org:5432 does not answer: connection refused, is it running there?",
    )


def test_status_of_a_migration_where_nothing_is_right_fits_80_columns_and_24_lines() -> None:
    console = Console("table", io.StringIO(), io.StringIO())
    console.emit(result_of(status_of(nothing_known()), full=False))
    out, err = console.stdout.getvalue(), console.stderr.getvalue()  # type: ignore[attr-defined]
    shown = [*out.splitlines(), *err.splitlines()]
    assert len(shown) < LINES
    assert [line for line in shown if len(line) > COLUMNS] == []
    for text in ("1 Dual write and backfill", "0 of 8 pass", "start products, process 123456", "not known (no worker)"):
        assert text in " ".join(out.split())
    assert "next: vecferry " in err


def test_status_names_phase_route_lag_and_the_gates_that_do_not_pass_alone() -> None:
    facts = replace(
        ready(),
        workers={"old": {"w1": worker()}, "new": {"w1": worker(), "w2": worker()}},
        verify=VERIFIED.model_copy(update={"skipped": 2}),
    )
    assert brief(status_of(facts), COLUMNS, LINES) == [
        "products",
        "phase     1 Dual write and backfill (indexed)",
        "reads     old 100 %, new 0 %",
        "copy      r1 closed, 7 rows, applied in 2 of 2 partitions",
        "lag       old 0 records (1 worker); new 2 records (2 workers)",
        "verified  5 s ago: 7 rows, 2 skipped",
        "gates     8 of 8 pass",
    ]
    behind = replace(facts, live={**facts.live, "new": {0: report(98), 1: report(50, age_s=400)}}, verify=None)
    assert brief(status_of(behind), COLUMNS, LINES)[-3:] == [
        "gates     6 of 8 pass",
        "  not known lag of new: no worker of store new has reported for 400 s",
        "  not known verification: old and new were never compared",
    ]


def worker() -> WorkerProgress:
    return WorkerProgress(beat_unix_s=NOW_S - 1, live={}, snapshot={}, redelivered=0)


def test_gates_that_do_not_fit_are_counted_and_the_full_status_is_named() -> None:
    shown = brief(status_of(nothing_known()), COLUMNS, 14)
    assert len(shown) == 14
    assert shown[-1].endswith("more: --full shows them")


def test_the_document_is_the_same_with_and_without_full() -> None:
    status = status_of(ready())
    assert result_of(status, full=False).data == result_of(status, full=True).data
    titles = [table.title for table in result_of(status, full=True).tables if isinstance(table, Table)]
    assert titles == ["products", "Stores", "Gates of a cutover"]


MOMENT = Progress(
    phase="waiting for both stores to reach the same place",
    chunks_done=123,
    chunks=4_567,
    rows=12_345_678,
    percent=12.34,
    rows_per_s=123_456.7,
    eta_s=4_000.0,
    throttled="live lag of a-replica-with-quite-a-long-name is 1234567 records (bound 10000)",
    note="no worker of new-a-replica-with-quite-a-long-name is running: rows wait in Kafka",
)


@pytest.mark.parametrize("columns", [40, 79, 200])
def test_progress_is_never_cut_however_long_its_reasons_are(columns: int) -> None:
    shown = lines(MOMENT, columns)
    assert [line for line in shown if len(line) > columns] == []
    text = " ".join(" ".join(shown).split())
    for part in ("12.3 %", "67 min left", "123 of 4567 chunks", "12345678 rows", "123457 rows/s"):
        assert part in text
    assert f"waits: {MOMENT.throttled}" in text
    assert MOMENT.note in text


def test_a_bar_fills_with_the_work() -> None:
    assert lines(Progress(phase="copying", percent=50.0, rows=1, eta_s=3.0), 79) == [
        "copying [###############...............]  50.0 %, 3 s left",
        "  1 row",
    ]


def test_durations_are_as_exact_as_one_needs() -> None:
    assert [duration(seconds) for seconds in (4.4, 99, 100, 5_999, 6_000)] == [
        "4 s",
        "99 s",
        "2 min",
        "100 min",
        "1.7 h",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen_of(written: str) -> list[str]:
    """What a terminal shows of ``written``: text, line ends, and the two sequences that progress uses."""
    rows, at = [""], 0
    for part in written.replace("\r", "").split("\x1b["):
        if part[:1] == "J":
            del rows[at + 1 :]
            rows[at], part = "", part[1:]
        elif part[:1].isdigit():
            up, _, part = part.partition("A")
            at -= int(up)
        for character in part:
            if character == "\n":
                at += 1
                if at == len(rows):
                    rows.append("")
            else:
                rows[at] += character
    return rows


def test_what_is_said_under_way_stands_above_the_progress_and_is_not_drawn_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    console, clock = Console("table", io.StringIO(), Terminal()), StepClock(10.0)
    with reporting(console, clock=clock) as show:
        console.say("copying about 10 rows")
        show(Progress(phase="copying", rows=3, percent=30.0, note="no worker of new is running"))
        console.say("something else")
        clock.now_s += 1
        show(Progress(phase="copied", rows=10, percent=100.0))
    console.say("done")
    assert screen_of(console.stderr.getvalue()) == [  # type: ignore[attr-defined]
        "copying about 10 rows",
        "something else",
        f"copied [{'#' * 30}] 100.0 %",
        "  10 rows",
        "done",
        "",
    ]


class Interrupting(StepClock):
    """Interrupts whoever sleeps for the n-th time."""

    def __init__(self, sleeps: int) -> None:
        super().__init__()
        self._left = sleeps

    def sleep_s(self, seconds: float) -> None:
        super().sleep_s(seconds)
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("fmt", ["table", "json"])
def test_a_watch_goes_on_while_kafka_does_not_answer_and_says_so(fmt: str) -> None:
    answers: list[Result | Exception] = [
        Result(data={"n": 1}, tables=(Table(title="one", columns=("a",), rows=[(1,)]),), next_steps=("vecferry x",)),
        Unavailable("Kafka at h:1 does not answer"),
        Unavailable("Kafka at h:1 does not answer"),
        Result(data={"n": 2}, tables=(Table(title="two", columns=("a",), rows=[(2,)]),)),
    ]

    def show() -> Result:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    console = Console("json" if fmt == "json" else "table", io.StringIO(), io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        watch(show, console, Interrupting(4), 2.0)
    out, err = console.stdout.getvalue(), console.stderr.getvalue()  # type: ignore[attr-defined]
    assert "Kafka at h:1 does not answer; no answer for 4 s, asking again every 2 s" in err
    if fmt == "json":
        documents = [json.loads(line) for line in out.splitlines()]
        assert [document.get("n") for document in documents] == [1, None, None, 2]
        assert documents[1]["error"]["kind"] == "unavailable"
    else:
        assert [line for line in out.splitlines() if line in ("one", "two")] == ["one", "one", "one", "two"]


def test_a_watch_ends_with_what_does_not_pass_by_itself() -> None:
    def show() -> Result:
        raise Refused("no longer enrolled")

    with pytest.raises(Refused):
        watch(show, Console("table", io.StringIO(), io.StringIO()), StepClock(), 1.0)
