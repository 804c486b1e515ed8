"""The whole system for one id: the log, the source, a target, and backfill runs from the one to the other.

Targets never meet each other, so one target is enough: it is the target of a first migration (its live group started
at offset 0, before the first publish), or a further store that is created later from a closed run (its live group
starts at the run's fence). Snapshot rows may reach it at any moment, in any order and any number of times.

Nothing flows from a target back to the source either. So the source is left out of the world once its last chunk is
closed, when nothing reads it any more; a scenario without runs shows how the source itself ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ordering_model.consumer import Consumer
from ordering_model.rules import Kind, Rules, Stamp
from ordering_model.state import BASE, DELETED, NO_FAULTS, ROW, UNKNOWN, Budget, Copy, Group, Held, Log, Run, World
from vecferry.schemas.batch import Op

Successor = tuple[str, World, Kind | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What may happen: how much is published, which faults, how many runs, and who reads them.

    runs     with none, there is no target: the source by itself
    rescans  how often a chunk may be scanned a second time (the backfill died before it noted that it was done)
    replay   the target is a further store, created from a closed run
    letters  the source rejects one event, which is redriven later, or never
    """

    name: str
    writes: int = 3
    source: Budget = NO_FAULTS
    target: Budget = NO_FAULTS
    runs: int = 1
    rescans: int = 0
    replay: bool = False
    letters: bool = False


class Model:
    """The steps that the world may take, and the verdict on every state of it."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self.scenario = scenario
        self.rules = rules
        self.order = [action for action in rules.chunk_order if action != "letters" or scenario.letters]
        self._source = Consumer("source", rules)
        self._target = Consumer("target", rules)

    def starts(self) -> list[World]:
        """The source holds a row that predates the pipeline, or nothing."""
        runs = (Run(rescans=self.scenario.rescans),) * self.scenario.runs
        no_target = self.scenario.replay or not runs
        target = None if no_target else self._target.create(self.scenario.target, based=False)
        return [
            World(based, Log(), self._source.create(self.scenario.source, based=based), target, runs)
            for based in (False, True)
        ]

    def steps(self, world: World) -> Iterator[Successor]:
        """Every step from ``world``: what is done, the world after it, and what is wrong about the step itself."""
        for label, log in self._publishes(world):
            yield label, world._replace(log=log), None
        if world.source is not None:
            for step in self._source.steps(world.source, world.log, self._fence_to_come(world.runs)):
                yield step.label, world._replace(source=step.group, log=step.log), step.wrong
            yield from self._redrive(world, world.source)
        if world.target is not None:
            for step in self._target.steps(world.target, world.log, False):
                after = world._replace(target=step.group, log=step.log)
                if step.group.faults.restores < world.target.faults.restores:  # its snapshot marks are gone as well
                    after = after._replace(runs=tuple(_undelivered(run) for run in world.runs))
                yield step.label, after, step.wrong
        for index, run in enumerate(world.runs):
            if world.source is not None:
                yield from self._run_steps(world, world.source, index, run)
            if world.target is None:
                yield from self._create_target(world, index, run)
            else:
                yield from self._deliveries(world, world.target, index, run)
        yield from self._forgetting(world)

    def verdict(self, world: World) -> Kind | None:
        """What is wrong with a store that has caught up: it must hold exactly the fold of the log."""
        log = world.log
        wrong = None
        source = world.source
        if source is not None and source.next == log.end:
            wrong = self._compare(source.held, world, without=log.open_letter)
        target = world.target
        if wrong is None and target is not None and target.next == log.end and self._complete(target, world.runs):
            wrong = self._compare(target.held, world, without=None)
        return wrong

    def finished(self, world: World) -> bool:
        """Everything was published, both stores have caught up and the target has a whole copy."""
        target, end = world.target, self.scenario.writes
        caught_up = world.source is None or world.source.next == end
        if self.scenario.runs:
            caught_up &= target is not None and target.next == end and self._complete(target, world.runs)
        return world.log.end == end and caught_up

    def _compare(self, held: Held, world: World, without: int | None) -> Kind | None:
        """``without``: the event that lies in the dead-letter topic instead."""
        numbers = [number for number in range(world.log.end) if number != without]
        newest = numbers[-1] if numbers else BASE
        is_row = world.log.ops[newest] is Op.UPSERT if numbers else world.based
        if is_row:
            return None if held.kind == ROW and held.value == newest else Kind.LOST_UPDATE
        return Kind.GHOST_ROW if held.kind == ROW else None

    def _complete(self, target: Group, runs: tuple[Run, ...]) -> bool:
        return any(self._closed(run) and self._readable(target, run) and all(run.delivered) for run in runs)

    def _closed(self, run: Run) -> bool:
        return run.done == len(self.order)

    def _readable(self, target: Group, run: Run) -> bool:
        return run.fence != UNKNOWN and self.rules.may_read_run(target.start, run.fence)

    def _fence_to_come(self, runs: tuple[Run, ...]) -> bool:
        marks_read_by = self.order.index("applied")
        return any(run.done <= marks_read_by or run.rescans for run in runs)

    def _publishes(self, world: World) -> Iterator[tuple[str, Log]]:
        log = world.log
        if log.end == self.scenario.writes:
            return
        for op in (Op.UPSERT, Op.DELETE):
            longer = log._replace(ops=(*log.ops, op))
            yield f"{op.name} {log.end} is published", longer
            if self.scenario.letters and log.bad == UNKNOWN and world.source is not None:
                yield f"{op.name} {log.end}, which the source rejects, is published", longer._replace(bad=log.end)

    def _run_steps(self, world: World, source: Group, index: int, run: Run) -> Iterator[Successor]:
        if self._closed(run):
            if run.rescans:
                again = run._replace(done=0, rescans=run.rescans - 1)
                yield f"backfill {index} dies, scans its chunk again", self._with_run(world, index, again), None
            return
        match self.order[run.done]:
            case "applied":
                label = f"backfill {index} reads applied = {source.applied}"
                run = run._replace(applied=source.applied)
            case "letters":
                label = f"backfill {index} lists dead letters: {world.log.open_letter}"
                run = run._replace(letter=world.log.open_letter)
            case "scan":
                seen = self._scan(source, world.log)
                label = f"backfill {index} scans {'no row' if seen is None else f'the row of {seen.value}'}"
                run = run._replace(seen=seen)
        run = run._replace(done=run.done + 1)
        if self._closed(run):
            run = self._produced(run)
            label += f", done with fence {run.fence}"
        yield label, self._with_run(world, index, run), None

    def _scan(self, source: Group, log: Log) -> Copy | None:
        held = source.held
        if held.kind != ROW:
            return None
        if held.position == BASE and self.rules.stamp is Stamp.TOPIC_END:
            return Copy(log.end - 1, held.value)
        return Copy(held.position, held.value)

    def _produced(self, run: Run) -> Run:
        """The run after its scanned row is in the snapshot topic, under the fence of the chunk."""
        fence = self.rules.fence_offset(run.applied, run.letter)
        copies = run.copies
        if run.seen is not None:
            unstamped = run.seen.position == BASE and self.rules.stamp is Stamp.FENCE
            copies += (run.seen._replace(position=fence - 1) if unstamped else run.seen,)
        if run.fence != UNKNOWN and self.rules.keeps_lower_fence:
            fence = min(fence, run.fence)
        delivered = run.delivered + (False,) * (len(copies) - len(run.copies))
        return Run(run.done, fence=fence, copies=copies, delivered=delivered, rescans=run.rescans)

    def _create_target(self, world: World, index: int, run: Run) -> Iterator[Successor]:
        if not self._closed(run):
            return
        start = self.rules.live_start(run.fence, world.log.end)
        target = self._target.create(self.scenario.target, based=False, start=start)
        runs = tuple(each._replace(rescans=0) if self._closed(each) else each for each in world.runs)
        label = f"a further store is created for run {index}, its live group starts at {start}"
        yield label, self._with_runs(world._replace(target=target), runs), None

    def _deliveries(self, world: World, target: Group, index: int, run: Run) -> Iterator[Successor]:
        if not self._readable(target, run):
            return
        for number, copy in enumerate(run.copies):
            group, wrong = self._target.offer(target, world.log, Op.SNAPSHOT, copy.position, copy.value)
            delivered = (*run.delivered[:number], True, *run.delivered[number + 1 :])
            if group is target and delivered == run.delivered:
                continue
            after = self._with_run(world._replace(target=group), index, run._replace(delivered=delivered))
            yield f"the row of {copy.value} of run {index} reaches the target", after, wrong

    def _redrive(self, world: World, source: Group) -> Iterator[Successor]:
        log = world.log
        number = log.open_letter
        if number is not None:
            group, wrong = self._source.offer(source, log, log.ops[number], number, number)
            after = world._replace(source=group, log=log._replace(letter="resolved"))
            yield f"dead letter {number} is redriven into the source", after, wrong

    def _forgetting(self, world: World) -> Iterator[Successor]:
        """What stores and topics must not do, and do under a mutation."""
        log, target = world.log, world.target
        if self.rules.topic_compacted and log.gone == UNKNOWN:
            for number, op in enumerate(log.ops):
                if op is Op.DELETE:
                    yield (
                        f"the live topic compacts delete {number} away",
                        world._replace(log=log._replace(gone=number)),
                        None,
                    )
        if self.rules.tombstones_collected and target is not None and target.held.kind == DELETED:
            yield "the target forgets its delete", world._replace(target=target._replace(held=Held())), None

    def _with_run(self, world: World, index: int, run: Run) -> World:
        return self._with_runs(world, (*world.runs[:index], run, *world.runs[index + 1 :]))

    def _with_runs(self, world: World, runs: tuple[Run, ...]) -> World:
        if all(self._closed(run) and not run.rescans for run in runs):
            log = world.log._replace(bad=UNKNOWN, letter="none")
            return world._replace(log=log, source=None, runs=runs)
        if world.source is None:
            return world._replace(runs=runs)
        return world._replace(source=Consumer.settle(world.source, self._fence_to_come(runs)), runs=runs)


def _undelivered(run: Run) -> Run:
    return run._replace(delivered=(False,) * len(run.copies))
