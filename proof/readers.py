"""The reading side of the application, as a process: ``python -m vecferry.proof.readers TASK.json``.

Each reader serves a number of users in turn, every one with a session of its own, and never stops: get and search, with
and without a filter, and reads that ask for a write that was acknowledged a moment ago. What a read shows is judged
against what was asked and what its session has seen; what can only be judged later goes to a file.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import Session, VecferryError, WriteToken
from .. import open as open_pipeline
from ..clock import SYSTEM_CLOCK
from .catalogue import Catalogue, load
from .ledger import BASE, Entry, Tail, digest
from .load import Task, run_until_stopped
from .staleness import UNKNOWN, Absence, Memory, Sighting
from .workload import Popularity

USERS = 50  # per reader: enough that a route of 5 % is met by some of the names below
TOKEN_SHARE, GET_SHARE = 0.3, 0.35  # the rest searches
_THINK_S = 0.08  # without a pause the readers alone would take all of a small machine
_TIMEOUT_S = 30.0  # longer than a killed worker's partitions take to move on
_RECENT = 200
_TAIL_S = 0.05
_K = 10
_FIRST_EPOCH_POSITION = 1 << 41  # below it: the row has never been written through the pipeline


class Wrong(Exception):
    """An answer that is not what was asked for."""


class Reader:
    """One reading thread."""

    def __init__(
        self, task: Task, catalogue: Catalogue, reader: Any, recent: deque[Entry], number: int, stop: threading.Event
    ) -> None:
        self._task = task
        self._catalogue = catalogue
        self._reader = reader
        self._recent = recent
        self._stop = stop
        self._random = np.random.default_rng([task.seed, 1_000 + number])
        self._popularity = Popularity(len(catalogue.ids), task.seed)
        known = frozenset(catalogue.ids)
        self._users = [(user_key(number, user), Session(), Memory(known)) for user in range(USERS)]
        self._later = (Path(task.sightings) / f"{number}.sightings").open("a", buffering=1)
        self._generation = -1
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.stale: list[str] = []
        self.flips: list[tuple[int, float]] = []
        self.thread = threading.Thread(target=self._run)

    @property
    def by_route(self) -> dict[str, int]:
        """Store -> answers that it gave."""
        return dict(self._reader.stats.reads)

    def _run(self) -> None:
        while not self._stop.wait(_THINK_S):
            user, session, memory = self._users[self._random.integers(USERS)]
            how = {"key": user, "session": session, "timeout": _TIMEOUT_S}
            chance = self._random.random()
            try:
                if chance < TOKEN_SHARE and self._recent:
                    self.counts["token"] += 1
                    self._get_written(how, memory)
                elif chance < TOKEN_SHARE + GET_SHARE:
                    self._get_any(how, memory)
                else:
                    self._search(how, memory)
            except (VecferryError, Wrong) as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
            self.counts["total"] += 1
            self._note_route()
        self._later.close()

    def _get_written(self, how: dict[str, Any], memory: Memory) -> None:
        entry = self._recent[int(self._random.integers(len(self._recent)))]
        token = WriteToken(self._task.topic, {entry.partition: entry.position})
        rows = self._reader.get([entry.id], after=token, **how)
        self._judge_get([entry.id], rows, memory, entry.position)

    def _get_any(self, how: dict[str, Any], memory: Memory) -> None:
        ids = list({self._catalogue.ids[self._popularity.pick(self._random)] for _ in range(3)})
        self._judge_get(ids, self._reader.get(ids, **how), memory, UNKNOWN)

    def _search(self, how: dict[str, Any], memory: Memory) -> None:
        row = self._popularity.pick(self._random)
        section = self._catalogue.metadata[row]["section"] if self._random.random() < 0.5 else None
        filter_ = None if section is None else {"section": section}
        hits = self._reader.search(self._catalogue.vectors[row], _K, filter=filter_, **how)
        if section is None and len(hits) < min(_K, len(self._catalogue.ids) // 2):
            raise Wrong(f"a search for {_K} found {len(hits)}")
        if any(section is not None and hit.metadata.get("section") != section for hit in hits):
            raise Wrong("a search found what its filter excludes")
        if sorted((hit.score for hit in hits), reverse=True) != [hit.score for hit in hits]:
            raise Wrong("a search returned its hits out of order")
        for hit in hits:
            self._judge(memory.present(hit.id, _position(hit.position)), hit.id, hit.position, UNKNOWN)

    def _judge_get(self, ids: Sequence[str], rows: Sequence[Any], memory: Memory, wanted: int) -> None:
        now_s = SYSTEM_CLOCK.unix_s()
        for row in rows:
            position = _position(row.position)
            self._judge(memory.present(row.id, position, wanted), row.id, position, wanted)
            self._keep("row", Sighting(id=row.id, position=position, content=digest(row.vector, row.metadata)))
        for id_ in set(ids) - {row.id for row in rows}:
            absence = memory.absent(id_, now_s, wanted)
            if absence is not None:
                self._keep("absence", absence)

    def _judge(self, stale: bool, id_: str, position: int, wanted: int) -> None:
        if stale:
            self.stale.append(f"{id_} at {position}, asked for {wanted}, from {self._reader.route}")

    def _keep(self, kind: str, what: Sighting | Absence) -> None:
        self._later.write(json.dumps({"kind": kind, **asdict(what)}) + "\n")

    def _note_route(self) -> None:
        route = self._reader.route
        if route is not None and route.generation != self._generation:
            self._generation = route.generation
            self.flips.append((route.generation, SYSTEM_CLOCK.unix_s()))


def user_key(reader: int, user: int) -> str:
    """The name of a user, by which a route sticks to them: which users a canary takes is the same in every run."""
    return f"customer-{reader}-{user}"


def _position(position: int) -> int:
    return position if position >= _FIRST_EPOCH_POSITION else BASE


def main(task: Task) -> None:
    """Read until told to stop."""
    catalogue = load(Path(task.data), task.rows)
    stop = threading.Event()
    recent: deque[Entry] = deque(maxlen=_RECENT)
    tail = Tail(Path(task.ledgers))

    def follow() -> None:
        while not stop.wait(_TAIL_S):
            recent.extend(tail.new())

    with open_pipeline(task.config) as pipeline:
        readers = [
            Reader(task, catalogue, pipeline.reader(task.collection), recent, number, stop)
            for number in range(task.readers)
        ]

        def counts() -> dict[str, object]:
            by_route: Counter[str] = Counter()
            failures: Counter[str] = Counter()
            for reader in readers:
                by_route.update(reader.by_route)
                failures.update(reader.failures)
            return {
                "total": sum(reader.counts["total"] for reader in readers),
                "token": sum(reader.counts["token"] for reader in readers),
                "failures": dict(failures),
                "stale": [line for reader in readers for line in reader.stale],
                "by_route": dict(by_route),
                "flips": [[number, *flip] for number, reader in enumerate(readers) for flip in reader.flips],
            }

        run_until_stopped([threading.Thread(target=follow), *(reader.thread for reader in readers)], stop, counts)


if __name__ == "__main__":
    main(Task.read(Path(sys.argv[1])))
