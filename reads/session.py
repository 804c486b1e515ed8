"""What one user has seen and written, so that the next read shows no less, whichever process and store answers."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRecord
from ..schemas.tokens import Run, WriteToken
from .watermarks import next_instant

_VERSION = "v1"
_MAX_TEXT = 65_536
_MAX_NAMES = 64
_MAX_RUNS = 32  # of writes that no read has shown yet; a cookie has little room
_REMEDY = "take it from str(session), or start a new Session()"


class Session:
    """Carries reads that never go backwards, and own writes, from read to read; thread-safe.

    Give it to reads as ``session=``, tell it of writes with :meth:`observe`, and carry ``str(session)`` in a cookie or
    a header to the next process, which continues with :meth:`parse`. Nothing here blocks.

    It remembers *which stores* it has read, not how far: a read from the same store is safe as it is, and before a read
    from another one the reader asks Kafka for the live topic's end, which bounds whatever was seen until then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = secrets.token_urlsafe(9)
        self._stores: dict[str, dict[str, int]] = {}  # topic -> store -> the instant after the last read from it
        self._written: dict[str, dict[int, int]] = {}  # topic -> partition -> position
        self._runs: dict[str, list[Run]] = {}  # topic -> the newest of these writes, one by one

    @property
    def key(self) -> str:
        """The key by which a route sticks to this session."""
        return self._key

    def observe(self, token: WriteToken) -> None:
        """From now on, reads see this write."""
        if not isinstance(token, WriteToken):
            raise InvalidRecord("token", f"{type(token).__name__} is no WriteToken", "pass the result of a delivery")
        with self._lock:
            written = self._written.setdefault(token.topic, {})
            for partition, position in token.positions.items():
                written[partition] = max(position, written.get(partition, 0))
            self._runs[token.topic] = [*self._runs.get(token.topic, []), *token.writes][-_MAX_RUNS:]

    def written(self, topic: str) -> dict[int, int]:
        """Partition -> position that the next read of ``topic``'s collection must see."""
        with self._lock:
            return dict(self._written.get(topic, {}))

    def writes(self, topic: str) -> list[Run]:
        """The newest of these writes one by one: none of them may have become a dead letter."""
        with self._lock:
            return list(self._runs.get(topic, []))

    def stores(self, topic: str) -> dict[str, int]:
        """Stores that this session has read -> an instant that follows its last read there."""
        with self._lock:
            return dict(self._stores.get(topic, {}))

    def covered(self, topic: str, store: str, instant: int) -> None:
        """``store`` has applied whatever was seen elsewhere up to ``instant``: it alone is remembered for that."""
        with self._lock:
            seen = self._stores.setdefault(topic, {})
            for other in [name for name, at in seen.items() if at <= instant and name != store]:
                del seen[other]
            seen[store] = max(instant, seen.get(store, 0))

    def saw(self, topic: str, store: str, written: Mapping[int, int]) -> None:
        """A read from ``store`` ended that had waited for ``written``: the store stands for those writes now."""
        with self._lock:
            self._stores.setdefault(topic, {})[store] = next_instant()
            pending = self._written.get(topic, {})
            for partition, position in written.items():
                if pending.get(partition, position + 1) <= position:
                    del pending[partition]
            self._runs[topic] = [run for run in self._runs.get(topic, []) if run.last > written.get(run.partition, -1)]

    def __str__(self) -> str:
        """Text for a cookie or a header: letters, digits, '-', '_' and '.' only."""
        with self._lock:
            document = {
                "k": self._key,
                "s": {topic: sorted(stores) for topic, stores in self._stores.items()},
                "w": {topic: written for topic, written in self._written.items() if written},
                "r": {
                    topic: [[r.partition, r.first, r.last] for r in runs] for topic, runs in self._runs.items() if runs
                },
            }
        text = json.dumps(document, separators=(",", ":")).encode()
        return f"{_VERSION}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}"

    def __repr__(self) -> str:
        return f"<Session {self._key}>"

    @classmethod
    def parse(cls, text: str) -> Session:
        """The session that ``text`` carries; raises InvalidRecord for anything that ``str(session)`` did not make."""
        session = cls()
        now = next_instant()  # whatever it saw, it saw before now
        try:
            document = _document(text)
            session._key = _name(document["k"])
            session._stores = {
                _name(topic): {_name(store): now for store in _few(stores, list)}
                for topic, stores in _few(document["s"], dict).items()
            }
            session._written = {
                _name(topic): {int(partition): _position(at) for partition, at in _few(written, dict, 1024).items()}
                for topic, written in _few(document["w"], dict).items()
            }
            session._runs = {
                _name(topic): [_run(run) for run in _few(runs, list)]
                for topic, runs in _few(document.get("r", _runs_of(session._written)), dict).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidRecord("session", "it is not the text of a session", _REMEDY) from error
        return session


def _document(text: str) -> dict[str, Any]:
    version, _, body = text.partition(".")
    if version != _VERSION or len(text) > _MAX_TEXT:
        raise ValueError("unknown form")
    try:
        decoded = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    document: dict[str, Any] = _few(json.loads(decoded), dict)
    return document


def _few(value: Any, kind: type, most: int = _MAX_NAMES) -> Any:
    if not isinstance(value, kind) or len(value) > most:  # type: ignore[arg-type]
        raise ValueError("not that kind, or too many")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 249:  # the longest name of a topic
        raise ValueError("not a name")
    return value


def _runs_of(written: Mapping[str, Mapping[int, int]]) -> dict[str, list[list[int]]]:
    """What the text of an earlier release says of single writes: the last one of each partition."""
    last = {topic: list(places.items())[-_MAX_RUNS:] for topic, places in written.items()}
    return {topic: [[partition, at, at] for partition, at in places] for topic, places in last.items()}


def _run(value: Any) -> Run:
    partition, first, last = _few(value, list, 3)
    return Run(_position(partition), _position(first), _position(last))


def _position(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError("not a position")
    return value
