"""Gates: three answers, and no data never passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from migration_facts import NEW, NOW_S, OLD, RUN, VERIFIED, held, ready, report
from vecferry.config import GatesSection
from vecferry.migration.facts import Facts
from vecferry.migration.gates import (
    GateResult,
    Verdict,
    backfill_gate,
    cutover_gates,
    dead_letter_gate,
    decide,
    index_gate,
    lag_gate,
    lag_records,
    retention_gate,
    rollback_gate,
    verification_gate,
)

LIMITS = GatesSection(max_lag_records=10, max_verify_age_s=60)


def test_all_gates_pass_when_everything_is_as_it_should_be() -> None:
    gates = cutover_gates(ready(), LIMITS)
    assert [gate.name for gate in gates] == [
        "backfill",
        "index",
        "lag of new",
        "lag of old",
        "verification",
        "dead letters",
        "retention",
        "rollback ready",
    ]
    assert decide(gates) is Verdict.PASS
    assert all(gate.measured and gate.required and not gate.remedy for gate in gates)


def test_every_gate_that_does_not_pass_has_a_remedy_and_a_measured_value() -> None:
    nothing = replace(
        ready(),
        run=None,
        verify=None,
        begin=None,
        end=None,
        live={},
        committed={},
        dead_letters=None,
        index_ready=None,
        index_problem="away",
    )
    gates = cutover_gates(nothing, LIMITS)
    assert all(gate.verdict is not Verdict.PASS for gate in gates), "no data never passes"
    assert all(gate.remedy and gate.measured for gate in gates)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), Verdict.INCONCLUSIVE),
        ((Verdict.PASS,), Verdict.PASS),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), Verdict.INCONCLUSIVE),
        ((Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.PASS), Verdict.FAIL),
    ],
)
def test_one_failure_fails_and_one_unknown_is_unknown(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    results = [GateResult(name="g", verdict=verdict, measured="m", required="r") for verdict in verdicts]
    assert decide(results) is expected


def test_backfill_gate() -> None:
    facts = ready()
    open_run = RUN.model_copy(update={"state": "copying"})
    assert facts.migration is not None
    unnamed = facts.migration.model_copy(update={"run": None})
    incomplete = {**facts.live, "new": {0: report(98), 1: report(50, complete=False)}}
    cases = [
        (facts, Verdict.PASS, "2 of 2"),
        (replace(facts, run=None, migration=unnamed), Verdict.FAIL, "nothing was copied"),
        (replace(facts, run=None), Verdict.FAIL, "run r1 is missing, or a later version wrote it"),
        (replace(facts, run=open_run), Verdict.FAIL, "copying"),
        (replace(facts, run_problems=("partition 1: a chunk is short",)), Verdict.FAIL, "a chunk is short"),
        (replace(facts, live=incomplete), Verdict.FAIL, "1 of 2"),
        (replace(facts, live={"new": {0: report(98)}}), Verdict.INCONCLUSIVE, "partition 1"),
        (replace(facts, live={}), Verdict.INCONCLUSIVE, "ever"),
        (replace(facts, held=None, index_problem="connection refused"), Verdict.INCONCLUSIVE, "connection refused"),
        (replace(facts, held=held(0, 0, complete=())), Verdict.FAIL, "0 of 2"),  # made anew since its worker reported
        (replace(facts, held=held(100, 50, complete=(0,))), Verdict.FAIL, "1 of 2"),
        (replace(facts, held=held(100, 50, run="r0")), Verdict.FAIL, "0 of 2"),  # complete, but by an earlier run
    ]
    for case, verdict, measured in cases:
        result = backfill_gate(case)
        assert (result.verdict, measured in result.measured) == (verdict, True), result


def test_index_gate() -> None:
    assert index_gate(ready()).verdict is Verdict.PASS
    assert index_gate(replace(ready(), index_ready=False)).verdict is Verdict.FAIL
    without = "no index is possible: it holds at most 2000 dimensions"
    assert index_gate(replace(ready(), no_index=without)).measured == without
    early = index_gate(replace(ready(), run=None))
    assert (early.verdict, early.measured) == (Verdict.INCONCLUSIVE, "nothing was copied yet")
    unknown = index_gate(replace(ready(), index_ready=None, index_problem="store new: connection refused"))
    assert unknown.verdict is Verdict.INCONCLUSIVE
    assert "connection refused" in unknown.measured


def test_lag_gate() -> None:
    facts = ready()
    cases = [
        ({0: report(98), 1: report(50)}, Verdict.PASS, "2 records"),
        ({0: report(99), 1: report(50)}, Verdict.PASS, "1 record"),
        ({0: report(90), 1: report(50)}, Verdict.PASS, "10 records"),
        ({0: report(90), 1: report(49)}, Verdict.FAIL, "11 records"),
        (
            {0: report(98), 1: report(50, age_s=34)},
            Verdict.INCONCLUSIVE,
            "no worker of store new has reported for 34 s",
        ),
        ({0: report(98), 1: report(50, age_s=-3600)}, Verdict.INCONCLUSIVE, "reported for 3600 s"),
        ({0: report(98)}, Verdict.INCONCLUSIVE, "has reported partition 1"),
        ({}, Verdict.INCONCLUSIVE, "has ever reported"),
        ({0: report(98), 1: report(51)}, Verdict.FAIL, "the topic ends at 50"),
    ]
    for live, verdict, measured in cases:
        result = lag_gate(replace(facts, live={"new": live}), NEW, LIMITS)
        assert (result.verdict, measured in result.measured) == (verdict, True), result
    assert lag_gate(replace(facts, end=None), NEW, LIMITS).verdict is Verdict.INCONCLUSIVE
    restored = lag_gate(replace(facts, held=held(100, 20)), NEW, LIMITS)
    assert (restored.verdict, restored.measured[:10]) == (Verdict.FAIL, "32 records")
    assert lag_gate(replace(facts, held=held(100, 20)), OLD, LIMITS).verdict is Verdict.PASS


def test_a_store_that_does_not_say_how_far_it_is_passes_no_gate() -> None:
    silent = replace(ready(), source_held=None, source_problem="store old: connection refused")
    for result in (lag_gate(silent, OLD, LIMITS), rollback_gate(silent, LIMITS)):
        assert (result.verdict, result.measured) == (Verdict.INCONCLUSIVE, "store old: connection refused")
        assert result.remedy == "make store old answer"
    assert lag_gate(replace(ready(), held=None, index_problem="away"), NEW, LIMITS).measured == "away"


def test_a_rollback_is_not_ready_when_a_server_took_over_that_lacks_the_last_writes() -> None:
    lost = replace(ready(), source_held=held(100, 47))  # within the bound, and nobody brings them back
    for result in (lag_gate(lost, OLD, LIMITS), rollback_gate(lost, LIMITS)):
        assert result.verdict is Verdict.FAIL
        assert "3 records: it had applied partition 1 up to offset 50 and is at 47 now" in result.measured
        assert result.remedy == "start `vecferry worker --store old` anew"
    assert "old needs offset 47" in retention_gate(replace(lost, begin=(0, 48))).measured
    partial = rollback_gate(replace(ready(), source_held=held(100, 50, complete=(0,))), LIMITS)
    assert (partial.verdict, partial.measured) == (Verdict.FAIL, "old is no full copy in partition 1")


def test_an_open_transaction_is_named_where_it_holds_writes_back() -> None:
    held_back = replace(ready(), end=(100, 150), stable=(100, 50))
    result = lag_gate(held_back, OLD, LIMITS)
    assert result.verdict is Verdict.FAIL
    assert result.measured == "100 records, held back by an open transaction in partition 1 since offset 50"
    assert "--topic shop.products.events --partition 1" in result.remedy
    few = replace(ready(), end=(100, 53), stable=(100, 50))
    assert (lag_gate(few, OLD, LIMITS).verdict, lag_gate(few, OLD, LIMITS).measured) == (
        Verdict.INCONCLUSIVE,
        "3 records, held back by an open transaction in partition 1 since offset 50",
    )
    assert decide(cutover_gates(few, LIMITS)) is Verdict.INCONCLUSIVE
    for facts in (held_back, few):  # the way back stays open
        assert (rollback_gate(facts, LIMITS).verdict, rollback_gate(facts, LIMITS).measured) == (
            Verdict.PASS,
            "0 records",
        )


def test_lag_counts_every_partition_and_is_unknown_without_one() -> None:
    assert lag_records(ready(), NEW) == 2
    assert lag_records(replace(ready(), live={"new": {0: report(98)}}), NEW) is None


def test_verification_gate() -> None:
    def with_record(**update: object) -> Facts:
        return replace(ready(), verify=VERIFIED.model_copy(update=update))

    cases = [
        (ready(), Verdict.PASS, "clean, 7 rows"),
        (replace(ready(), verify=None), Verdict.INCONCLUSIVE, "never compared"),
        (with_record(target="third"), Verdict.INCONCLUSIVE, "never compared"),
        (with_record(missing=1), Verdict.FAIL, "missing 1"),
        (with_record(corrupt=2, undecided=1), Verdict.FAIL, "corrupt 2"),
        (with_record(undecided=3), Verdict.INCONCLUSIVE, "3 rows undecided"),
        (with_record(complete=False), Verdict.INCONCLUSIVE, "only a sample was compared"),
        (with_record(finished_unix_s=NOW_S - 61), Verdict.INCONCLUSIVE, "61 s old"),
        (with_record(run="r0"), Verdict.INCONCLUSIVE, "older than run r1"),
    ]
    for facts, verdict, measured in cases:
        result = verification_gate(facts, LIMITS)
        assert (result.verdict, measured in result.measured) == (verdict, True), result


def test_dead_letter_gate_counts_letters_of_both_stores_only() -> None:
    letters = ("new/shop.products.events/0/5/0", "old/shop.products.events/1/9/0", "third/shop.products.events/1/9/0")
    result = dead_letter_gate(replace(ready(), dead_letters=letters))
    assert result.verdict is Verdict.FAIL
    assert result.measured == "2 unresolved"
    assert dead_letter_gate(replace(ready(), dead_letters=letters[2:])).verdict is Verdict.PASS


def test_retention_gate() -> None:
    facts = ready()
    assert retention_gate(replace(facts, begin=(98, 0))).measured == "the topic holds all that the stores still need"
    assert retention_gate(replace(facts, begin=(8, 0))).measured.endswith("still need, and 50 records before that")
    overtaken = retention_gate(replace(facts, begin=(99, 0)))
    assert overtaken.verdict is Verdict.FAIL
    assert "new needs offset 98 of partition 0, the topic begins at 99" in overtaken.measured
    assert "set migrations.products.to" in overtaken.remedy
    assert "publish what it missed again" in retention_gate(replace(facts, begin=(101, 0))).remedy
    # A group that was reset forward does not hide what the store itself still needs.
    behind = replace(facts, begin=(60, 0), live={**facts.live, "new": {0: report(40), 1: report(50)}})
    assert retention_gate(behind).verdict is Verdict.FAIL
    uncommitted = retention_gate(replace(facts, committed={**facts.committed, "new": {0: 98}}))
    assert uncommitted.verdict is Verdict.FAIL
    assert "no committed offset in partition 1" in uncommitted.measured


def test_rollback_gate_asks_for_a_complete_old_store_that_keeps_up() -> None:
    facts = ready()
    assert rollback_gate(facts, LIMITS).verdict is Verdict.PASS
    partial = replace(facts, live={"old": {0: report(100), 1: report(50, complete=False)}})
    assert rollback_gate(partial, LIMITS).verdict is Verdict.FAIL
    assert rollback_gate(replace(facts, live={}), LIMITS).verdict is Verdict.INCONCLUSIVE
    behind = replace(facts, live={"old": {0: report(10), 1: report(50)}})
    assert rollback_gate(behind, LIMITS).verdict is Verdict.FAIL
