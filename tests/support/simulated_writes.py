"""An application that writes in a simulation, and tells the truth what it wrote."""

from __future__ import annotations

import random
from dataclasses import dataclass

from crew import REJECTED
from memory_world import MemoryWorld, partition_of
from simulation_checks import EPOCH, POSITIONS, Truth
from vecferry.schemas.tokens import WriteToken

IDS = [f"id-{number}" for number in range(8)]


@dataclass(frozen=True, slots=True)
class Written:
    """A write that every store takes. ``state``: its number among the states of the id."""

    id: str
    token: WriteToken
    state: int


class Writes:
    """``faulty``: some of the events are such as no store takes."""

    def __init__(self, world: MemoryWorld, truth: Truth, chance: random.Random, *, faulty: bool = True) -> None:
        self._world = world
        self._truth = truth
        self._random = chance
        self._weights = (60, 25, 3, 5) if faulty else (60, 25, 0, 0)
        self._next_value = 100.0
        self.newest: Written | None = None

    def write(self) -> None:
        """Publish an event of some id."""
        id_ = self._random.choice(IDS)
        match self._random.choices(("upsert", "delete", "junk", "rejected"), self._weights)[0]:
            case "upsert":
                self._next_value += 1
                offset = self._world.upsert(id_, self._next_value)
                self._truth.upserted(id_, offset, self._next_value)
                self._wrote(id_, offset)
            case "delete":
                offset = self._world.delete(id_)
                self._truth.deleted(id_, offset)
                self._wrote(id_, offset)
            case "junk":
                self._truth.undecodable(id_, self._world.junk(id_))
            case "rejected":
                self._truth.refused(id_, self._world.upsert(id_, REJECTED))

    def _wrote(self, id_: str, offset: int) -> None:
        token = WriteToken(topic=self._world.topic, positions={partition_of(id_): EPOCH * POSITIONS + offset})
        self.newest = Written(id=id_, token=token, state=len(self._truth.states(id_)) - 1)
