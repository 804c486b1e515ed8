"""Processes of a simulation: whatever they touch may be the last thing that they do, and others act meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memory_store import MemoryStore
from step_clock import StepClock
from vecferry.log.memory import Broker, MemoryLog
from vecferry.log.memory.log import MemoryAdmin
from vecferry.log.port import Log
from vecferry.schemas.batch import Rows
from vecferry.stores.base import Cursor, Store

Touch = Callable[[], None]


class Killed(BaseException):
    """The process was killed here; no ``except Exception`` may notice."""


@dataclass(slots=True)
class Fuse:
    """Kills a process at the n-th moment from now at which it touches log or store, and at each one after that."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class Touched:
    """``inner``, with a touch before and after each call, or after those of ``only``."""

    def __init__(self, inner: object, touch: Touch, only: frozenset[str] | None = None) -> None:
        self._inner = inner
        self._touch = touch
        self._only = only

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or (self._only is not None and name not in self._only):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._touch()
            result = found(*arguments, **named)
            self._touch()
            return result

        return call


class TouchedStore(Touched):
    """One process's connection to a store that all share."""

    def scan(self, chunk: Cursor, page_rows: int) -> Iterator[Rows]:
        self._touch()
        for page in self._inner.scan(chunk, page_rows):  # type: ignore[attr-defined]
            yield page
            self._touch()


class PausingClock(StepClock):
    """A process's view of the one clock: others act while it sleeps."""

    def __init__(self, world: StepClock, meanwhile: Touch) -> None:
        super().__init__()
        self._world = world
        self._meanwhile = meanwhile

    def monotonic_s(self) -> float:
        return self._world.now_s

    def unix_s(self) -> float:
        return self._world.now_s

    def sleep_s(self, seconds: float) -> None:
        self._world.sleep_s(seconds)
        self._meanwhile()


class ProcessLog(MemoryLog):
    """One process's way to a log in memory that all share."""

    def __init__(self, broker: Broker, clock: PausingClock, touch: Touch) -> None:
        super().__init__(broker, clock)
        self._touch = touch
        admin: Any = Touched(MemoryAdmin(broker), touch)
        self.admin = admin

    def table(self, topic: str) -> Any:
        return Touched(super().table(topic), self._touch, frozenset({"sync"}))

    def writer(self, namespace: str, collection: str) -> Any:
        self._touch()
        return Touched(super().writer(namespace, collection), self._touch)

    def sender(self, *, bulk: bool = False) -> Any:
        return Touched(super().sender(bulk=bulk), self._touch)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a new process gets: its clock, its log, and its way to the stores."""

    clock: PausingClock
    log: Log
    touch: Touch
    stores: Mapping[str, MemoryStore]
    way: type[TouchedStore] = TouchedStore

    def open_store(self, name: str) -> Store:
        handle: Any = self.way(self.stores[name], self.touch)
        return handle


def machine(
    broker: Broker,
    clock: StepClock,
    stores: Mapping[str, MemoryStore],
    touch: Touch,
    meanwhile: Touch,
    way: type[TouchedStore] = TouchedStore,
) -> Machine:
    """A machine on which ``touch`` is called whenever its process touches anything, stores by ``way``.

    ``meanwhile`` is called whenever it has slept.
    """
    own = PausingClock(clock, meanwhile)
    return Machine(clock=own, log=ProcessLog(broker, own, touch), touch=touch, stores=stores, way=way)
