"""Gates: what must hold before reads move. Pure: facts in, verdicts out.

A gate is data and has three answers. What is not known, or was last reported too long ago, is *inconclusive*; it never
passes. Every answer says what was measured, what was asked for, and what to do about the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..config import GatesSection
from ..journal.progress import LiveProgress
from ..schemas.collection import Replica
from ..schemas.dead_letters import parse_origin
from ..wording import count, open_transactions, partitions
from .facts import Facts
from .remedies import end_transaction, lost_events, start_over

BEAT_TIMEOUT_S = 10.0  # a worker reports about every second; one that was silent for longer counts as absent


class Verdict(StrEnum):
    """The three answers of a gate or a check."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One answer. ``remedy`` is empty when the verdict is PASS."""

    name: str
    verdict: Verdict
    measured: str
    required: str
    remedy: str = ""

    def line(self) -> str:
        """The answer as one line for people."""
        return f"{self.name}: {self.measured}" + (f"; {self.remedy}" if self.remedy else "")


def decide(results: Sequence[GateResult]) -> Verdict:
    """FAIL if one failed, else INCONCLUSIVE if one is not known or there is none at all, else PASS."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE


def cutover_gates(facts: Facts, limits: GatesSection) -> tuple[GateResult, ...]:
    """Every gate that guards moving reads to the target."""
    return (
        backfill_gate(facts),
        index_gate(facts),
        lag_gate(facts, facts.target, limits),
        lag_gate(facts, facts.source, limits),
        verification_gate(facts, limits),
        dead_letter_gate(facts),
        retention_gate(facts),
        rollback_gate(facts, limits),
    )


def backfill_gate(facts: Facts) -> GateResult:
    """The run is closed and the target has applied all of it, in every partition: by its worker's word and its own."""
    start = f"vecferry start {facts.collection}"
    anew = f"once its cause is mended, run `{start} --new-run`"

    def answer(verdict: Verdict, measured: str, remedy: str = "") -> GateResult:
        required = f"closed and applied in {count(facts.partitions, 'partition')}"
        return GateResult(name="backfill", verdict=verdict, measured=measured, required=required, remedy=remedy)

    if facts.run is None:
        if facts.migration is not None and facts.migration.run is not None:
            measured = f"the record of run {facts.migration.run} is missing, or a later version wrote it"
            return answer(Verdict.FAIL, measured, f"run `{start}`, which says which")
        return answer(Verdict.FAIL, "nothing was copied yet", f"run `{start}`")
    if facts.run.state != "closed":
        return answer(Verdict.FAIL, f"run {facts.run.run} is {facts.run.state}", f"run `{start}` until it is done")
    if facts.run_problems:
        return answer(Verdict.FAIL, facts.run_problems[0], anew)
    reported = facts.live.get(facts.target.name, {})
    done = [partition for partition, report in reported.items() if report.complete and facts.holds_run(partition)]
    measured = f"complete in {len(done)} of {count(facts.partitions, 'partition')}"
    if len(done) == facts.partitions:
        return answer(Verdict.PASS, measured)
    if len(reported) < facts.partitions:
        return answer(Verdict.INCONCLUSIVE, _silent(facts, facts.target), _start_worker(facts, facts.target))
    if facts.held is None:
        return answer(
            Verdict.INCONCLUSIVE, facts.index_problem or "not known", f"make store {facts.target.store} answer"
        )
    return answer(
        Verdict.FAIL,
        measured,
        f"wait while the worker of {facts.target.name} applies the run; "
        f"if it has lost its table, run `{start} --new-run`",
    )


def index_gate(facts: Facts) -> GateResult:
    """The target answers searches from its index."""
    build = f"run `vecferry start {facts.collection}`, which builds it"
    if facts.index_ready and facts.run is None:
        return GateResult(
            name="index",
            verdict=Verdict.INCONCLUSIVE,
            measured="nothing was copied yet",
            required="ready",
            remedy=build,
        )
    why = facts.index_problem or "not known"
    measured = {True: facts.no_index or "ready", False: "not built", None: why}[facts.index_ready]
    verdict = {True: Verdict.PASS, False: Verdict.FAIL, None: Verdict.INCONCLUSIVE}[facts.index_ready]
    remedy = {True: "", False: build, None: f"make store {facts.target.store} answer"}[facts.index_ready]
    return GateResult(name="index", verdict=verdict, measured=measured, required="ready", remedy=remedy)


def lag_gate(facts: Facts, replica: Replica, limits: GatesSection) -> GateResult:
    """The replica is at most ``max_lag_records`` behind the end of the live topic, and its worker is alive."""

    def answer(verdict: Verdict, measured: str, remedy: str = "") -> GateResult:
        required = f"at most {limits.max_lag_records} records"
        return GateResult(
            name=f"lag of {replica.name}", verdict=verdict, measured=measured, required=required, remedy=remedy
        )

    beyond = _beyond_the_end(facts, replica)
    if beyond:
        remedy = f"the topic was made anew; {start_over(facts.collection)}"
        return answer(Verdict.FAIL, beyond, remedy)
    silent = _silent(facts, replica)
    lag = lag_records(facts, replica)
    if silent or lag is None:
        unknown = "the live topic's end is not known"
        return answer(Verdict.INCONCLUSIVE, silent or unknown, _start_worker(facts, replica) if silent else "ask again")
    if facts.own_word(replica) is None:
        return answer(Verdict.INCONCLUSIVE, facts.silence(replica), f"make store {replica.store} answer")
    if lost := _lost_writes(facts, replica):
        anew = f"start `vecferry worker --store {replica.store}` anew"
        return answer(Verdict.FAIL, f"{count(lag, 'record')}: {lost}", anew)
    fits = lag <= limits.max_lag_records
    if held_back := facts.held_back():  # how many writes more are acknowledged by the time it ends, nobody knows
        measured = f"{count(lag, 'record')}, {open_transactions(held_back)}"
        remedy = end_transaction(facts.events, min(held_back))
        return answer(Verdict.INCONCLUSIVE if fits else Verdict.FAIL, measured, remedy)
    if not fits:
        remedy = f"wait, or run a further `vecferry worker --store {replica.store}`"
        return answer(Verdict.FAIL, count(lag, "record"), remedy)
    return answer(Verdict.PASS, count(lag, "record"))


def verification_gate(facts: Facts, limits: GatesSection) -> GateResult:
    """The last verification was complete, clean, of these two stores, and is fresh."""
    verify = f"run `vecferry verify {facts.collection}`"

    def answer(verdict: Verdict, measured: str, remedy: str = "") -> GateResult:
        required = f"clean, at most {limits.max_verify_age_s:.0f} s old"
        return GateResult(name="verification", verdict=verdict, measured=measured, required=required, remedy=remedy)

    record = facts.verify
    if record is None or (record.source, record.target) != (facts.source.name, facts.target.name):
        return answer(Verdict.INCONCLUSIVE, f"{facts.source.name} and {facts.target.name} were never compared", verify)
    if record.differing:
        measured = (
            f"{record.differing} of {record.checked} rows differ "
            f"(missing {record.missing}, extra {record.extra}, stale {record.stale}, corrupt {record.corrupt})"
        )
        remedy = (
            f"list them with `vecferry verify {facts.collection} --out FILE`, and what stores refused with "
            f"`vecferry dlq list {facts.collection}`; publish the right state of those ids again, or their deletes: "
            f"another copy replaces nothing that was written past the log; then {verify}"
        )
        return answer(Verdict.FAIL, measured, remedy)
    if not record.clean:
        what = f"{count(record.undecided, 'row')} undecided" if record.undecided else "only a sample was compared"
        return answer(Verdict.INCONCLUSIVE, what, verify)
    if facts.run is not None and record.run != facts.run.run:
        return answer(Verdict.INCONCLUSIVE, f"older than run {facts.run.run}", verify)
    age_s = facts.now_unix_s - record.finished_unix_s
    if abs(age_s) > limits.max_verify_age_s:
        return answer(Verdict.INCONCLUSIVE, f"clean, but {age_s:.0f} s old", verify)
    skipped = f", {record.skipped} left behind by choice" if record.skipped else ""
    return answer(Verdict.PASS, f"clean, {record.checked} rows{skipped}, {max(age_s, 0):.0f} s old")


def dead_letter_gate(facts: Facts) -> GateResult:
    """Neither store has an unresolved dead letter."""
    remedy = (
        f"see `vecferry dlq list {facts.collection}`; publish the right state of each id that it names, or mend the "
        f"cause, then `vecferry dlq redrive {facts.collection}` resolves the letters; a record that nobody misses is "
        f"given up with `vecferry dlq discard {facts.collection} KEY`"
    )
    required = "no unresolved letter"
    if facts.dead_letters is None:
        return GateResult(
            name="dead letters",
            verdict=Verdict.INCONCLUSIVE,
            measured="the dead-letter topic is missing",
            required=required,
            remedy=f"run `vecferry enrol {facts.collection}`",
        )
    stores = {facts.source.name, facts.target.name}
    count = sum(parse_origin(key).store in stores for key in facts.dead_letters)
    verdict = Verdict.FAIL if count else Verdict.PASS
    measured = f"{count} unresolved"
    return GateResult(
        name="dead letters", verdict=verdict, measured=measured, required=required, remedy=remedy if count else ""
    )


def retention_gate(facts: Facts) -> GateResult:
    """The live topic still holds every event that a store has not applied."""

    def answer(verdict: Verdict, measured: str, remedy: str = "") -> GateResult:
        required = "the topic begins at or below every store's next offset"
        return GateResult(name="retention", verdict=verdict, measured=measured, required=required, remedy=remedy)

    if facts.begin is None:
        return answer(Verdict.INCONCLUSIVE, "the live topic's offsets are not known", "make Kafka answer")
    headroom: list[int] = []
    for replica in (facts.source, facts.target):
        store = replica.name
        for partition, begin in enumerate(facts.begin):
            committed = facts.committed.get(store, {}).get(partition)
            if committed is None:
                what = f"the group of {store} has no committed offset in partition {partition}"
                return answer(Verdict.FAIL, what, f"run `vecferry enrol {facts.collection}`")
            reported = facts.live.get(store, {}).get(partition)
            needed = committed if reported is None else min(committed, facts.next_offset(replica, partition))
            if begin > needed:
                what = f"{store} needs offset {needed} of partition {partition}, the topic begins at {begin}"
                remedy = lost_events(facts.collection, is_source=replica == facts.source)
                return answer(Verdict.FAIL, what, remedy)
            headroom.append(needed - begin)
    spare = f", and {count(min(headroom), 'record')} before that" if min(headroom) else ""
    return answer(Verdict.PASS, f"the topic holds all that the stores still need{spare}")


def rollback_gate(facts: Facts, limits: GatesSection) -> GateResult:
    """The old store is a full copy and keeps up, so reads can go back to it at once.

    An open transaction holds both stores back alike, so it is no reason to stay.
    """
    lag = lag_gate(facts if facts.stable is None else replace(facts, end=facts.stable), facts.source, limits)
    partial = missing_partitions(facts)
    required = f"{facts.source.name} complete and at most {limits.max_lag_records} records behind"
    if partial:
        return GateResult(
            name="rollback ready",
            verdict=Verdict.FAIL,
            measured=f"{facts.source.name} is no full copy in {partitions(partial)}",
            required=required,
            remedy="copy into it first",
        )
    return GateResult(
        name="rollback ready", verdict=lag.verdict, measured=lag.measured, required=required, remedy=lag.remedy
    )


def missing_partitions(facts: Facts) -> list[int]:
    """The partitions in which the source is no full copy, by its worker's word or its own."""
    held = facts.source_held
    return sorted(
        partition
        for partition, progress in facts.live.get(facts.source.name, {}).items()
        if not progress.complete or (held is not None and partition not in held.complete)
    )


def lag_records(facts: Facts, replica: Replica) -> int | None:
    """Records of the live topic that ``replica`` has not applied, over all partitions; None when not known."""
    progress = facts.live.get(replica.name, {})
    if facts.end is None or set(progress) < set(range(facts.partitions)):
        return None
    return sum(end - facts.next_offset(replica, partition) for partition, end in enumerate(facts.end))


def beat_age_s(progress: Mapping[int, LiveProgress], now_unix_s: float) -> float | None:
    """Seconds since the report of the partition that was silent longest; None without a report."""
    beats = [record.beat_unix_s for record in progress.values()]
    # A clock that is ahead of ours makes an old beat look fresh, so a beat from the future counts by its distance.
    return max(abs(now_unix_s - beat) for beat in beats) if beats else None


def _silent(facts: Facts, replica: Replica) -> str:
    """Why the workers of ``replica`` cannot be heard, or "" when every partition was reported a moment ago."""
    progress = facts.live.get(replica.name, {})
    age_s = beat_age_s(progress, facts.now_unix_s)
    if age_s is None:
        return f"no worker of store {replica.name} has ever reported"
    missing = sorted(set(range(facts.partitions)) - set(progress))
    if missing:
        return f"no worker of store {replica.name} has reported {partitions(missing)}"
    return f"no worker of store {replica.name} has reported for {age_s:.0f} s" if age_s > BEAT_TIMEOUT_S else ""


def _beyond_the_end(facts: Facts, replica: Replica) -> str:
    for partition, end in enumerate(facts.end or ()):
        progress = facts.live.get(replica.name, {}).get(partition)
        if progress is not None and progress.next_offset > end:
            return (
                f"{replica.name} has applied partition {partition} to {progress.next_offset}, the topic ends at {end}"
            )
    return ""


def _lost_writes(facts: Facts, replica: Replica) -> str:
    """Where ``replica`` itself is behind what was reported of it, or ""."""
    for partition, report in facts.live.get(replica.name, {}).items():
        applied = facts.next_offset(replica, partition)
        if applied < report.next_offset:
            return (
                f"it had applied partition {partition} up to offset {report.next_offset} and is at {applied} now "
                "(another server took over, a backup came back, or its table was made anew)"
            )
    return ""


def _start_worker(facts: Facts, replica: Replica) -> str:
    if running := facts.running_workers(replica, BEAT_TIMEOUT_S):
        return f"its worker runs ({', '.join(running)}); its log says what it waits for"
    return f"start `vecferry worker --store {replica.store}`"
