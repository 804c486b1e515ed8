from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from moving_world import MovingWorld
from vecferry.backfill.progress import OnProgress, Progress
from vecferry.backfill.settling import Settler
from vecferry.backfill.verification import MAX_EXAMPLES, OnDifference, Verifier, VerifyReport, sampled
from vecferry.compare.verdict import Difference, Fault
from vecferry.errors import Refused
from vecferry.schemas.position import encode_position

IDS = [f"id-{number:03}" for number in range(400)]
QUIET = frozenset(IDS[::10])
HOT, FEW_IDS = IDS[12], IDS[:40]


def run(
    world: MovingWorld,
    *,
    sample: float | None = None,
    seed: int = 1,
    timeout_s: float = 60.0,
    skips: bool = False,
    on_progress: OnProgress = lambda progress: None,
    on_difference: OnDifference = lambda difference: None,
    held_back: Callable[[], Mapping[int, int]] = dict,
) -> VerifyReport:
    verifier = Verifier(
        source=world.source,
        target=world.target,
        collection=world.collection,
        live_ends=world.ends,
        sample=sample,
        seed=seed,
        tolerance=1e-6,
        on_progress=on_progress,
        on_difference=on_difference,
        clock=world,
        skips=skips,
        held_back=held_back,
        barrier_timeout_s=timeout_s,
    )
    # Small pages: many store calls, so the world moves many times within one verification.
    verifier._page_rows = 16
    return verifier.run()


def settler_of(world: MovingWorld, *, watch_s: float = 30.0, barrier_timeout_s: float = 60.0) -> Settler:
    return Settler(
        source=world.source,
        target=world.target,
        collection=world.collection,
        live_ends=world.ends,
        tolerance=1e-6,
        page_rows=16,
        on_wait=lambda what_for: None,
        clock=world,
        barrier_timeout_s=barrier_timeout_s,
        watch_s=watch_s,
    )


def faults(report: VerifyReport) -> dict[str, Fault]:
    return {difference.id: difference.fault for difference in report.examples}


def seeds(number: int, *, quick: int = 2) -> list[Any]:
    """Seeds of worlds; those beyond the first ``quick`` are for the whole run."""
    return [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= quick)) for seed in range(number)]


@pytest.mark.parametrize("seed", seeds(25, quick=8))
def test_no_false_alarm_while_writes_go_on(seed: int) -> None:
    world = MovingWorld(seed, IDS, pace=3)
    report = run(world)
    assert sum(world.ends()) > 100
    assert (report.missing, report.extra, report.stale, report.corrupt) == (0, 0, 0, 0), report.examples
    assert report.undecided == 0
    assert report.checked >= 200


@pytest.mark.parametrize("trailing", ["", "source", "target"])
@pytest.mark.parametrize("seed", seeds(8))
def test_an_id_that_is_written_all_the_time_is_decided(seed: int, trailing: str) -> None:
    world = MovingWorld(seed, FEW_IDS, pace=1, hot=HOT, hot_writes=4)
    world.trailing[trailing] = 30  # the stores are never at the same place
    report = run(world)
    assert sum(world.ends()) > 50
    assert report.to_record("old", "new", 0.0).clean, report.examples


@pytest.mark.parametrize("store", ["source", "target"])
@pytest.mark.parametrize("how", ["stale", "missing", "corrupt"])
@pytest.mark.parametrize("seed", seeds(5))
def test_a_fault_of_an_id_that_is_written_all_the_time_is_named(seed: int, how: str, store: str) -> None:
    world = MovingWorld(seed, FEW_IDS, pace=1, hot=HOT, hot_writes=5, hot_deletes=0.0)
    world.spoiled[store] = how
    while max(world.source.live.values()) < 100 or max(world.target.live.values()) < 100:
        world.sleep_s(0.1)
    report = run(world)
    expected = Fault.EXTRA if (how, store) == ("missing", "source") else Fault(how)
    assert faults(report) == {HOT: expected}
    assert report.undecided == 0
    assert how == "corrupt" or store in report.examples[0].reason


def test_an_id_that_is_never_seen_at_one_position_stays_undecided() -> None:
    world = MovingWorld(0, FEW_IDS, pace=1, hot=HOT, hot_writes=20)
    world.trailing["target"] = 300
    settler = settler_of(world, watch_s=0.1)
    (difference,) = settler.settle([HOT])
    assert (difference.fault, difference.reason) == (Fault.UNDECIDED, "the id is being written")
    assert None not in (difference.source_position, difference.target_position)


def test_a_store_that_catches_up_is_waited_for_as_long_as_before() -> None:
    world = MovingWorld(0, FEW_IDS, pace=3, quiet=frozenset(FEW_IDS[:1]))
    settler = settler_of(world, barrier_timeout_s=5.0)

    def stall(seconds: float) -> None:
        world.stalled, world.stalled_until_s = {"target"}, world.now_s + seconds
        world.sleep_s(0.1)

    stall(100.0)
    written = [id_ for id_ in FEW_IDS[1:] if world.source.rows[id_].position != world.target.rows[id_].position]
    assert {difference.reason[:20] for difference in settler.settle(written)} == {"the target did not a"}
    assert 5.0 < world.now_s < 10.0
    # Even an impatient wait is long enough for a store that is at work again.
    world.stalled.clear()
    assert list(settler.settle(FEW_IDS)) == []
    stall(3.5)
    assert list(settler.settle(FEW_IDS)) == []


@pytest.mark.parametrize("first", [0, 1], ids=["the wrong row last", "the wrong row first"])
@pytest.mark.parametrize("store", ["source", "target"])
@pytest.mark.parametrize("second", ["equal", "other content", "deleted"])
def test_an_id_that_a_store_holds_twice_is_named(store: str, second: str, first: int) -> None:
    world = MovingWorld(0, IDS, pace=0)
    # In the middle of a page, on both sides of its end (16 rows), and in the last one.
    chosen = [IDS[4], IDS[15], IDS[16], IDS[-1]]
    for id_ in chosen:
        entry = world.source.rows[id_]
        other = {
            "equal": entry,
            "other content": replace(entry, vector=entry.vector + np.float32(1)),
            "deleted": replace(entry, deleted=True, position=entry.position - 1),
        }[second]
        pair = (entry, other) if first == 0 else (other, entry)
        (world.source if store == "source" else world.target).twice[id_] = pair
    report = run(world)
    assert faults(report) == dict.fromkeys(chosen, Fault.CORRUPT)
    assert report.corrupt == len(chosen)
    assert {difference.reason for difference in report.examples} == {f"held twice by the {store}"}
    assert report.checked == len(IDS)


def test_an_id_that_only_the_target_holds_and_holds_twice_is_named_once() -> None:
    world = MovingWorld(0, IDS, pace=0)
    world.target.twice["ghost"] = (world.target.rows[IDS[0]], world.target.rows[IDS[1]])
    report = run(world)
    assert faults(report) == {"ghost": Fault.CORRUPT}
    assert report.corrupt == 1


@pytest.mark.parametrize("pace", [0, 3])
@pytest.mark.parametrize("seed", range(5))
def test_every_planted_fault_is_named(seed: int, pace: int) -> None:
    world = MovingWorld(seed, IDS, pace=pace, quiet=QUIET)
    rows = world.target.rows
    missing, wrong_vector, swapped, swapped_with, misnamed, resurrected, stale, source_stale = sorted(QUIET)[:8]
    del rows[missing]
    rows["ghost"] = rows[wrong_vector]
    rows[wrong_vector] = replace(rows[wrong_vector], vector=rows[wrong_vector].vector + np.float32(1e-4))
    rows[swapped], rows[swapped_with] = (
        replace(rows[swapped], metadata=rows[swapped_with].metadata),
        replace(rows[swapped_with], metadata=rows[swapped].metadata),
    )
    rows[misnamed + "x"] = rows.pop(misnamed)
    world.source.rows[resurrected] = replace(
        world.source.rows[resurrected], deleted=True, position=world.source.rows[resurrected].position + 1
    )
    # An event that one of the two stores lost: its position lies below everything that is applied by now.
    for store, id_ in ((world.source, stale), (world.target, source_stale)):
        store.rows[id_] = replace(store.rows[id_], position=store.rows[id_].position + 1)
    world.pace = max(pace, 1)
    while min(world.ends()) < 2:  # positions 0 and 1 of each partition lie behind both stores
        world.sleep_s(0.1)
    world.pace = pace
    report = run(world)
    expected = {
        missing: Fault.MISSING,
        "ghost": Fault.EXTRA,
        wrong_vector: Fault.CORRUPT,
        swapped: Fault.CORRUPT,
        swapped_with: Fault.CORRUPT,
        misnamed: Fault.MISSING,
        misnamed + "x": Fault.EXTRA,
        resurrected: Fault.EXTRA,
        stale: Fault.STALE,
        source_stale: Fault.STALE,
    }
    found = faults(report)
    assert {id_: fault for id_, fault in found.items() if fault is not Fault.UNDECIDED} == expected
    assert (report.missing, report.extra, report.stale, report.corrupt) == (2, 3, 2, 3)
    reasons = {difference.id: difference.reason for difference in report.examples}
    assert "target is older" in reasons[stale]
    assert "source is older" in reasons[source_stale]
    assert not report.to_record("old", "new", 0.0).clean


def test_identical_stores_are_clean_and_complete() -> None:
    world = MovingWorld(0, IDS, pace=0)
    report = run(world)
    assert report.checked == len(IDS)
    assert report.to_record("old", "new", 0.0).clean


def test_a_store_that_does_not_keep_up_leaves_ids_undecided() -> None:
    world = MovingWorld(0, IDS, pace=3)
    world.stalled.add("target")
    for _ in range(20):
        world.sleep_s(1.0)
    report = run(world, timeout_s=5.0)
    assert report.undecided > 0
    assert report.missing == report.extra == report.stale == report.corrupt == 0
    assert "target did not apply" in report.examples[0].reason
    assert world.now_s < 60.0  # waited for once, not once per page of ids
    assert not report.to_record("old", "new", 0.0).clean


def test_a_transaction_that_holds_the_barrier_back_is_named() -> None:
    world = MovingWorld(0, IDS, pace=3)
    world.stalled.add("target")
    for _ in range(20):
        world.sleep_s(1.0)
    seen: list[Progress] = []
    report = run(world, timeout_s=5.0, on_progress=seen.append, held_back=lambda: dict.fromkeys(range(8), 7))
    assert "did not apply" in report.examples[0].reason
    assert "held back by an open transaction in partition" in report.examples[0].reason
    assert any("reach the same place, held back by an open transaction in partition 0 since" in p.phase for p in seen)


def test_a_sample_is_never_complete_and_finds_what_it_covers() -> None:
    world = MovingWorld(0, IDS, pace=0)
    world.target.rows.clear()
    report = run(world, sample=0.5)
    assert 0.3 * len(IDS) < report.checked < 0.7 * len(IDS)
    assert report.missing == report.checked
    assert not report.complete
    assert not report.to_record("old", "new", 0.0).clean


def test_an_empty_target_costs_bounded_memory_and_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecferry.backfill.verification._MAX_PENDING", 32)
    world = MovingWorld(0, IDS, pace=0)
    world.target.rows.clear()
    report = run(world)
    assert report.missing == len(IDS)
    assert len(report.examples) == MAX_EXAMPLES


def test_every_kind_of_fault_has_its_examples_and_all_of_them_are_reported() -> None:
    world = MovingWorld(0, IDS, pace=0)
    missing, wrong = IDS[:60], IDS[60:65]
    for id_ in missing:
        del world.target.rows[id_]
    for id_ in wrong:
        world.target.rows[id_] = replace(world.target.rows[id_], metadata=b'{"other":1}')
    world.target.rows["ghost"] = world.target.rows[IDS[-1]]
    found: list[Difference] = []
    report = run(world, on_difference=found.append)
    assert {difference.id for difference in found} == {*missing, *wrong, "ghost"}
    shown = Counter(difference.fault for difference in report.examples)
    assert shown == {Fault.MISSING: MAX_EXAMPLES, Fault.CORRUPT: 5, Fault.EXTRA: 1}
    assert (report.missing, report.corrupt, report.extra) == (60, 5, 1)


@pytest.mark.parametrize("store", ["source", "target", "both"])
def test_a_position_beyond_the_end_of_the_log_is_named_whoever_holds_it(store: str) -> None:
    world = MovingWorld(0, IDS, pace=0)
    beyond = encode_position(world.collection.epoch, 7)
    for held in (world.source, world.target):
        if store == "both" or held is getattr(world, store):
            held.rows[IDS[3]] = replace(held.rows[IDS[3]], position=beyond)
    report = run(world)
    assert faults(report) == {IDS[3]: Fault.CORRUPT}
    assert "beyond the end of the log" in report.examples[0].reason
    assert (report.corrupt, report.undecided) == (1, 0)


@pytest.mark.parametrize("skips", [False, True])
def test_a_row_that_the_log_cannot_carry_is_skipped_where_that_was_chosen_and_missing_elsewhere(skips: bool) -> None:
    world = MovingWorld(0, IDS, pace=0)
    broken, lost = IDS[3], IDS[4]
    world.source.rows[broken] = replace(world.source.rows[broken], metadata=b'{"price":NaN}')
    for id_ in (broken, lost):
        del world.target.rows[id_]
    report = run(world, skips=skips)
    assert faults(report) == {broken: Fault.SKIPPED if skips else Fault.MISSING, lost: Fault.MISSING}
    assert (report.missing, report.skipped) == ((1, 1) if skips else (2, 0))
    reasons = {difference.id: difference.reason for difference in report.examples}
    assert "metadata holds NaN" in reasons[broken]
    world.target.rows[lost] = world.source.rows[lost]
    record = run(world, skips=skips).to_record("old", "new", 0.0)
    assert (record.clean, record.skipped) == (skips, int(skips))


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(Refused, match=r"sample of 1\.5"):
        run(MovingWorld(0, IDS, pace=0), sample=1.5)


def test_progress_ends_at_one_hundred_percent() -> None:
    world = MovingWorld(0, IDS, pace=0)
    seen: list[Progress] = []
    Verifier(
        source=world.source,
        target=world.target,
        collection=world.collection,
        live_ends=world.ends,
        sample=None,
        seed=0,
        tolerance=1e-6,
        on_progress=seen.append,
        clock=world,
    ).run()
    assert seen[-1].percent == 100.0
    assert all(progress.percent < 100.0 for progress in seen[:-1])


def test_a_sample_is_a_share_and_depends_on_the_seed_alone() -> None:
    ids = [f"id-{number}" for number in range(20_000)]
    chosen = sampled(ids, 0.1, 7)
    assert 0.08 < chosen.mean() < 0.12
    assert (sampled(ids[::-1], 0.1, 7)[::-1] == chosen).all()
    assert (sampled(ids, 0.1, 8) != chosen).any()
    assert sampled(ids, 1.0, 7).all()
