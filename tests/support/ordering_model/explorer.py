"""Breadth first over every state that can be reached, so that the first violation found is the shortest."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass

from ordering_model.model import Model
from ordering_model.rules import Kind
from ordering_model.state import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``finished``: states in which everything was published and both stores were compared with the log.

    ``traces``: kind of violation -> the labels of the shortest way to one.
    """

    states: int
    transitions: int
    finished: int
    traces: dict[Kind, tuple[str, ...]]

    def __str__(self) -> str:
        lines = [f"{self.states:,} states, {self.transitions:,} transitions, {self.finished:,} finished"]
        for kind, trace in self.traces.items():
            lines += [f"{kind.value}:", *(f"  {number}. {label}" for number, label in enumerate(trace, start=1))]
        return "\n".join(lines)


def explore(model: Model, stop_at: frozenset[Kind] = frozenset()) -> Report:
    """Visit every reachable state; with ``stop_at``, only until each of these kinds of violation was found.

    A state with a violation is not followed any further.
    """
    gc.disable()  # millions of tuples without a cycle: looking for one takes longer than the exploration
    try:
        return _explore(model, stop_at)
    finally:
        gc.enable()


def _explore(model: Model, stop_at: frozenset[Kind]) -> Report:
    came_from: dict[World, World | None] = dict.fromkeys(model.starts())
    waiting = deque(came_from)
    traces: dict[Kind, tuple[str, ...]] = {}
    transitions = finished = 0
    while waiting and not (stop_at and stop_at <= traces.keys()):
        world = waiting.popleft()
        moves = 0
        for label, after, wrong in model.steps(world):
            moves += 1
            if wrong is None:
                if after in came_from:
                    continue
                came_from[after] = world
                wrong = model.verdict(after)
            if wrong is None:
                waiting.append(after)
            elif wrong not in traces:
                traces[wrong] = (*_way_to(model, came_from, world), label)
        transitions += moves
        if model.finished(world):
            finished += 1
        elif not moves and Kind.STUCK not in traces:
            traces[Kind.STUCK] = _way_to(model, came_from, world)
    return Report(states=len(came_from), transitions=transitions, finished=finished, traces=traces)


def _way_to(model: Model, came_from: dict[World, World | None], world: World) -> tuple[str, ...]:
    labels: list[str] = []
    before = came_from[world]
    while before is not None:
        labels.append(next(label for label, after, _ in model.steps(before) if after == world))
        world, before = before, came_from[before]
    return tuple(reversed(labels))
