"""The commands of an operator in a simulation: the real verbs, each under a lease of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from killing import Machine
from log_world import NAME
from memory_world import MemoryWorld
from stepped_executor import SteppedExecutor
from vecferry.backfill.context import Context
from vecferry.executor import Threads
from vecferry.journal.lease import Lease
from vecferry.migration.cancel import cancel
from vecferry.migration.context import open_context
from vecferry.migration.cutover import Move, move_reads, moves_back
from vecferry.migration.enrol import enrol
from vecferry.migration.start import start
from vecferry.migration.verifying import verify_replicas

_START_S = 20.0  # then the operator looks again


class Commands:
    """``quick`` is how often a task beside a command is done before the command asks for it."""

    def __init__(self, world: MemoryWorld, chance: random.Random, quick: float = 0.8) -> None:
        self._world = world
        self._random = chance
        self.quick = quick

    def enrol(self, own: Machine) -> None:
        enrol(
            self._world.config,
            NAME,
            own.log,
            open_store=own.open_store,
            clock=own.clock,
            threads=self._threads(own),
        )

    def start(self, own: Machine, *, new_run: bool = False) -> None:
        with self.steering(own, "start") as (context, lease):
            start(
                context,
                lease,
                new_run=new_run,
                say=lambda line: None,
                on_progress=lambda progress: None,
                timeout_s=_START_S,
            )

    def verify(self, own: Machine) -> bool:
        """Whether both stores are the same, all of it."""
        with self.steering(own, "verify") as (context, lease):
            _, record = verify_replicas(context, lease, sample=None, on_progress=lambda progress: None)
        return record.clean

    def move(self, own: Machine, percent: int) -> Move:
        """``cutover --to percent``, or ``rollback``."""
        with self._context(own, checked=False) as context:
            urgent = moves_back(context, percent)
            with self._lease(own, context, "cutover", urgent=urgent) as lease:
                return move_reads(context, lease, percent)

    def cancel(self, own: Machine) -> None:
        with self.steering(own, "cancel") as (context, lease):
            cancel(context, lease)

    @contextmanager
    def steering(self, own: Machine, command: str) -> Iterator[tuple[Context, Lease]]:
        """The context and the lease of ``command``."""
        with self._context(own) as context, self._lease(own, context, command) as lease:
            yield context, lease

    @contextmanager
    def _context(self, own: Machine, *, checked: bool = True) -> Iterator[Context]:
        with open_context(
            self._world.config,
            NAME,
            own.log,
            checked=checked,
            open_store=own.open_store,
            clock=own.clock,
            threads=self._threads(own),
        ) as context:
            yield context

    def _lease(self, own: Machine, context: Context, command: str, *, urgent: bool = False) -> Lease:
        return Lease(
            self._world.config,
            NAME,
            context.control,
            own.log,
            command=command,
            urgent=urgent,
            clock=own.clock,
            threads=self._threads(own),
        )

    def _threads(self, own: Machine) -> Threads:
        return lambda name: SteppedExecutor(own.clock, lambda: self._random.random() < self.quick)
