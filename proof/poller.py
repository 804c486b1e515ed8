"""Watching stored positions of hot ids: a position that goes down, or is forgotten, is a regression."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

_INTERVAL_S = 0.5
_MAX_EXAMPLES = 10


class Positions(Protocol):
    """A store as the poller sees it."""

    name: str

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """Id -> stored position."""
        ...


class Regressions:
    """What was seen per store and id, and how often it went down. Pure."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self.count = 0
        self.examples: list[str] = []

    def take(self, store: str, ids: Sequence[str], found: Mapping[str, int]) -> None:
        """Book one look at ``ids`` in ``store``."""
        for id_ in ids:
            before, now = self._seen.get((store, id_)), found.get(id_)
            if before is not None and (now is None or now < before):
                self.count += 1
                if len(self.examples) < _MAX_EXAMPLES:
                    after = "nothing" if now is None else f"position {now}"
                    self.examples.append(f"{store}: {id_} went from position {before} to {after}")
            if now is not None:
                self._seen[store, id_] = now


class Poller:
    """A thread that looks twice a second, inside ``with``. Owns ``stores`` meanwhile."""

    def __init__(self, stores: Sequence[Positions], ids: Sequence[str]) -> None:
        self._stores = stores
        self._ids = ids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller")
        self.regressions = Regressions()
        self.looks = 0
        self.failure: Exception | None = None

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more; blocks until the look under way is over. Fine to call again."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_INTERVAL_S):
                for store in self._stores:
                    self.regressions.take(store.name, self._ids, store.positions(self._ids))
                self.looks += 1
        except Exception as error:  # noqa: BLE001  handed to the main thread, which fails for it
            self.failure = error
