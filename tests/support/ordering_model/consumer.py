"""The steps of one consumer group and its store: write, mark, commit, and whatever can befall them.

Fetching is no step of its own: a batch fetched early and written late is the same as one fetched at the moment of its
write, unless its worker is a zombie by then; that is why a zombie takes a batch with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ordering_model.rules import Guard, Kind, Rules
from ordering_model.state import ABSENT, BASE, DELETED, NOTHING, ROW, Budget, Group, Held, Log, Zombie, position_of
from vecferry.consumers.ordering import Absent, Deleted, Present, State
from vecferry.schemas.batch import EventBatch, Op, Outcome


class Step(NamedTuple):
    label: str
    group: Group
    log: Log
    wrong: Kind | None = None


class Consumer:
    """Steps are cached: many states of the world share the state of one group."""

    def __init__(self, name: str, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        self._rejects = name == "source"
        self._steps: dict[tuple[Group, Log, bool], tuple[Step, ...]] = {}
        self._decisions: dict[tuple[str, int, Op, int], tuple[Outcome, str]] = {}
        self._orders: dict[tuple[int, tuple[Op, ...], int], list[int]] = {}

    def create(self, faults: Budget, *, based: bool, start: int = 0) -> Group:
        held = Held(ROW, BASE, BASE) if based else Held()
        return Group(held, held.value, start, start, start, start, None, faults)

    def steps(self, group: Group, log: Log, watched: bool) -> tuple[Step, ...]:
        """Every step that this group may take next. ``watched``: a fence is still to be read from its mark."""
        key = (group, log, watched)
        if key not in self._steps:
            found: dict[tuple[Group, Log, Kind | None], Step] = {}
            for step in self._all_steps(group, log):
                settled = step._replace(group=self.settle(step.group, watched))
                if (settled.group, settled.log) != (group, log) or step.wrong is not None:
                    found.setdefault((settled.group, settled.log, settled.wrong), settled)
            self._steps[key] = tuple(found.values())
        return self._steps[key]

    @staticmethod
    def settle(group: Group, watched: bool) -> Group:
        """Marks and commits that nobody will read again are kept equal to ``next``: no one can tell the difference."""
        faults = group.faults
        if watched or faults.crashes or faults.zombies or faults.resets or faults.restores:
            return group
        return group._replace(applied=group.next, committed=group.next)

    def offer(
        self, group: Group, log: Log, op: Op, position: int, value: int, *, seen: Held | None = None
    ) -> tuple[Group, Kind | None]:
        """The group after its store was offered an event (or a copy), and what was wrong about that.

        ``seen`` is what the store's guard looks at, if that is not what the store holds.
        """
        held = group.held if seen is None else seen
        outcome, kind = self._decide(held.kind, held.position, op, position)
        if outcome is not Outcome.APPLIED:
            return group, None
        after = Held(kind, position, value) if kind != ABSENT else Held()
        wrong = Kind.APPLIED_TWICE if value == held.value else None
        if value < group.newest or (group.held.kind != ABSENT and position < group.held.position):
            deleted = group.newest >= 0 and log.ops[group.newest] is Op.DELETE
            wrong = Kind.GHOST_ROW if deleted and kind == ROW else Kind.STALE_OVERWRITE
        return group._replace(held=after, newest=max(group.newest, value)), wrong

    def _decide(self, kind: str, at: int, op: Op, position: int) -> tuple[Outcome, str]:
        key = (kind, at, op, position)
        if key not in self._decisions:
            state: State = Absent()
            if kind != ABSENT:
                state = (Present if kind == ROW else Deleted)(position=position_of(at))
            outcome, after = self.rules.decide(state, op, position_of(position))
            self._decisions[key] = outcome, {Absent: ABSENT, Present: ROW, Deleted: DELETED}[type(after)]
        return self._decisions[key]

    def _offers(self, log: Log, start: int, end: int) -> list[int]:
        """The events of the batch [start, end) in the order in which they are offered to the store."""
        numbers = [number for number in range(start, end) if number != log.gone]
        key = (start, log.ops[start:end], log.gone)
        if key not in self._orders:
            batch = EventBatch(
                ids=["x"] * len(numbers),
                ops=np.array([log.ops[number] for number in numbers], np.int8),
                partitions=np.zeros(len(numbers), np.int32),
                positions=np.array([position_of(number) for number in numbers], np.int64),
                vectors=np.zeros((len(numbers), 1), np.float32),
                metadata=[b""] * len(numbers),
            )
            self._orders[key] = [numbers[row] for row in self.rules.tried_in_order(batch)] if numbers else []
        return self._orders[key]

    def _taken(self, log: Log, start: int, end: int) -> tuple[int | None, Log]:
        """The event of a batch that the store does not reject, and the log after dead-lettering those it does."""
        for number in self._offers(log, start, end):
            if not self._rejects or number != log.bad or log.letter == "resolved":
                return number, log
            log = log._replace(letter="open")
        return None, log

    def _all_steps(self, group: Group, log: Log) -> Iterator[Step]:
        yield from self._owner_steps(group, log)
        yield from self._faults(group, log)
        if group.zombie is not None:
            yield from self._zombie_steps(group, group.zombie, log)

    def _owner_steps(self, group: Group, log: Log) -> Iterator[Step]:
        name = self.name
        for end in range(group.next + 1, log.end + 1):
            batch = f"{name} writes [{group.next},{end})"
            number, after = self._taken(log, group.next, end)
            moved = group._replace(next=end)
            if after != log:
                batch += f", {log.bad} becomes a dead letter"
            if number is None:
                yield Step(batch, moved, after)
                continue
            written, wrong = self.offer(moved, log, log.ops[number], number, number)
            yield Step(batch, written, after, wrong)
        end = group.next if self.rules.marks_after_write else log.end
        if group.applied < end:
            yield Step(f"{name} marks {end} as applied", group._replace(applied=end), log)
        if group.committed != group.applied:
            yield Step(f"{name} commits {group.applied}", group._replace(committed=group.applied), log)

    def _faults(self, group: Group, log: Log) -> Iterator[Step]:
        name, left = self.name, group.faults
        if left.crashes:
            restarted = self._restart(group, left._replace(crashes=left.crashes - 1))
            yield Step(f"{name} crashes, resumes at {restarted.next}", restarted, log)
            for end in range(group.next + 1, log.end + 1):
                after = self._taken(log, group.next, end)[1]
                if after != log:
                    yield Step(f"{name} dead-letters {log.bad}, crashes, resumes at {restarted.next}", restarted, after)
        if left.zombies and group.zombie is None:
            spent = left._replace(zombies=left.zombies - 1)
            for end in range(group.next + 1, log.end + 1):
                new_owner = self._restart(group._replace(zombie=Zombie("holding", group.next, end)), spent)
                label = f"{name} is taken over at {new_owner.next}, a zombie holds [{group.next},{end})"
                yield Step(label, new_owner, log)
            if group.applied < group.next:
                new_owner = self._restart(group._replace(zombie=Zombie("written", group.next, group.next)), spent)
                yield Step(f"{name} is taken over, a zombie has yet to mark {group.next}", new_owner, log)
        if left.rewinds:
            for offset in range(group.start, group.next):
                back = group._replace(next=offset, faults=left._replace(rewinds=left.rewinds - 1))
                yield Step(f"{name} is given events from {offset} on again", back, log)
        if left.resets:
            for offset in range(group.committed + 1, log.end + 1):
                skipped = self._restart(group._replace(committed=offset), left._replace(resets=left.resets - 1))
                yield Step(f"{name} is reset to {offset}, resumes at {skipped.next}", skipped, log)
        if left.restores and group.zombie is None:
            empty = group._replace(held=Held(), newest=NOTHING, applied=group.start)
            restored = self._restart(empty, left._replace(restores=left.restores - 1))
            yield Step(f"{name} is restored as it was created, resumes at {restored.next}", restored, log)

    def _restart(self, group: Group, faults: Budget) -> Group:
        """A new worker takes the group over: what the old one had in memory is gone."""
        resume = self.rules.resume_offset(group.committed, group.applied)
        assert resume is not None
        return group._replace(next=resume, faults=faults)

    def _zombie_steps(self, group: Group, zombie: Zombie, log: Log) -> Iterator[Step]:
        who = f"zombie of {self.name}"
        yield Step(f"{who} dies", group._replace(zombie=None), log)
        if zombie.stage == "written":
            marked = group._replace(zombie=None, applied=max(group.applied, zombie.end))
            yield Step(f"{who} marks {zombie.end} as applied", marked, log)
            return
        done = group._replace(zombie=zombie._replace(stage="written"))
        label = f"{who} writes [{zombie.start},{zombie.end})"
        if zombie.stage == "checked":
            written, wrong = self._write_unguarded(done, log, zombie.offer)
            yield Step(label, written, log, wrong)
            return
        number, after = self._taken(log, zombie.start, zombie.end)
        if number is None:
            yield Step(label, done, after)
        elif self.rules.guard is Guard.ATOMIC:
            written, wrong = self.offer(done, log, log.ops[number], number, number)
            yield Step(label, written, after, wrong)
        elif self._passes_check(group.held, log.ops[number], number):
            checked = group._replace(zombie=zombie._replace(stage="checked", offer=number))
            yield Step(f"{who} finds nothing newer than {number}", checked, after)

    def _passes_check(self, held: Held, op: Op, number: int) -> bool:
        if self.rules.guard is Guard.ROW_AND_LEDGER_APART and held.kind != DELETED:
            return True
        return self._decide(held.kind, held.position, op, number)[0] is Outcome.APPLIED

    def _write_unguarded(self, group: Group, log: Log, number: int) -> tuple[Group, Kind | None]:
        """The second half of a write that was checked before: blind, or guarded by the row alone."""
        row_alone = self.rules.guard is Guard.ROW_AND_LEDGER_APART and group.held.kind == ROW
        return self.offer(group, log, log.ops[number], number, number, seen=group.held if row_alone else Held())
