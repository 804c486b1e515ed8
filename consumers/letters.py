"""Dead letters: records that a store can never apply, kept whole with the reason, before the worker commits past them.

The worker logs one line for each letter, up to ten in ten seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..clock import Clock
from ..errors import Unavailable, VecferryError
from ..log.port import OnFailure, Sender, TooLarge
from ..schemas.dead_letters import CUT, Origin
from ..schemas.position import next_offset
from .partition import Owned

_log = logging.getLogger("vecferry.worker")

Headers = list[tuple[str, str | bytes | None]]

LINES = 10
WINDOW_S = 10.0

KEPT_BYTES = 64 * 1024  # of a record that is too large for the topic: half for the value, half for the key

_ACK_TIMEOUT_S = 60.0
_FULL_PAUSE_S = 0.1
_LONGEST_ID = 100
_LONGEST_REASON = 300
_LONGEST_KEPT_REASON = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One record for the dead-letter topic: the original key, value and headers, its origin and the reason.

    ``whole_bytes``: the original length of the value, if ``cut`` has shortened it.
    """

    origin: Origin
    reason: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    position: int
    whole_bytes: int | None = None


class LetterBox:
    """Sends letters of ``collection``, waits until Kafka has acknowledged them, and logs them. Used by one thread."""

    def __init__(self, sender: Sender, topic: str, collection: str, clock: Clock) -> None:
        self._said = LetterLog(collection, clock)
        self._sender = sender
        self._topic = topic
        self._clock = clock

    def post(self, letters: Sequence[Letter]) -> None:
        """Block until every letter is acknowledged. Raises Unavailable: do not commit past these letters then.

        A record that is too large for the topic is posted with its value and key cut, and without its headers.
        """
        if not letters:
            return
        refused = {letter.origin for letter in self._send(letters)}
        if refused:
            letters = [cut(letter) if letter.origin in refused else letter for letter in letters]
            if self._send([letter for letter in letters if letter.origin in refused]):
                raise Unavailable(
                    f"topic {self._topic} does not take dead letters of {KEPT_BYTES} bytes; raise its max.message.bytes"
                )
        self._said.note(letters)

    def _send(self, letters: Sequence[Letter]) -> list[Letter]:
        """Block until each letter is acknowledged or refused as too large; returns the refused ones."""
        refused: list[Letter] = []
        failures: list[VecferryError] = []

        def failed(letter: Letter, error: VecferryError) -> None:
            if isinstance(error, TooLarge):
                refused.append(letter)
            else:
                failures.append(error)

        until_s = self._clock.monotonic_s() + _ACK_TIMEOUT_S
        left = 0
        for letter in letters:
            while not (queued := self._queue(letter, partial(failed, letter))):
                self._sender.serve(_FULL_PAUSE_S)
                if self._clock.monotonic_s() > until_s:
                    break
            left += not queued
        left += self._sender.flush(max(0.0, until_s - self._clock.monotonic_s()))
        if failures:
            raise failures[0]
        if left:
            raise Unavailable(
                f"topic {self._topic} did not acknowledge {left} dead letters within {_ACK_TIMEOUT_S:g} s"
            )
        return refused

    def _queue(self, letter: Letter, on_failure: OnFailure) -> bool:
        # A null value would read as "resolved".
        value = b"" if letter.value is None else letter.value
        key, headers = letter.origin.key().encode(), _headers(letter)
        return self._sender.send(self._topic, 0, value, key=key, headers=headers, on_failure=on_failure)


def note_letters(letters: Sequence[Letter], partitions: Owned) -> None:
    """Let the live ``partitions`` of ``letters`` know that up to these nothing can be said of all events."""
    for letter in letters:
        partition = partitions.get((letter.origin.topic, letter.origin.partition))
        if partition is not None and partition.run is None:
            partition.clean_from = max(partition.clean_from, next_offset(letter.origin.offset))


def cut(letter: Letter) -> Letter:
    """``letter`` with its value and key cut to KEPT_BYTES in all, without headers; the reason says so."""
    value = letter.value or b""
    kept = KEPT_BYTES // 2
    return replace(
        letter,
        reason=f"{letter.reason[:_LONGEST_KEPT_REASON]} (too large for a dead letter: the first {kept} of "
        f"{len(value)} bytes are kept)",
        key=letter.key and letter.key[:kept],
        value=letter.value and letter.value[:kept],
        headers=(),
        whole_bytes=len(value),
    )


def _headers(letter: Letter) -> Headers:
    ours: Headers = [
        ("vecferry.reason", letter.reason.encode()),
        ("vecferry.topic", letter.origin.topic.encode()),
        ("vecferry.partition", str(letter.origin.partition).encode()),
        ("vecferry.offset", str(letter.origin.offset).encode()),
        ("vecferry.position", str(letter.position).encode()),
        ("vecferry.store", letter.origin.store.encode()),
        ("vecferry.key", letter.key),
        ("vecferry.null-value", b"1" if letter.value is None else b"0"),
        (CUT, b"" if letter.whole_bytes is None else str(letter.whole_bytes).encode()),
    ]
    return [*letter.headers, *ours]  # if two headers have one name, readers take the last: ours


class LetterLog:
    """Logs the letters of one collection: at most ``LINES`` of them within ``WINDOW_S``, then only their number."""

    def __init__(self, collection: str, clock: Clock) -> None:
        self._collection = collection
        self._clock = clock
        self._window_ends_s = float("-inf")
        self._listed = 0
        self._passed_over = 0

    def note(self, letters: Sequence[Letter]) -> None:
        """Log ``letters``, which Kafka has acknowledged."""
        now_s = self._clock.monotonic_s()
        if letters and now_s >= self._window_ends_s:
            self._window_ends_s, self._listed = now_s + WINDOW_S, 0
            if self._passed_over:
                _log.warning(
                    "%s: %d dead letters were not listed; `vecferry dlq list %s` shows all",
                    self._collection,
                    self._passed_over,
                    self._collection,
                )
                self._passed_over = 0
        room = LINES - self._listed
        for letter in letters[:room]:
            _log.warning("%s", describe(self._collection, letter))
        self._listed += len(letters[:room])
        if letters[room:] and not self._passed_over:
            _log.warning(
                "%s: more dead letters follow, not listed for %.0f s; `vecferry dlq list %s` shows all",
                self._collection,
                self._window_ends_s - now_s,
                self._collection,
            )
        self._passed_over += len(letters[room:])


def describe(collection: str, letter: Letter) -> str:
    """The log line of ``letter``: its origin, its id if there is one, and the reason."""
    origin = letter.origin
    id_ = "no id" if letter.key is None else f"id {_short(letter.key.decode('utf-8', 'backslashreplace'), _LONGEST_ID)}"
    row = f" row {origin.row}" if origin.row else ""
    return (
        f"{collection}: dead letter, {origin.store} cannot take {origin.topic} [{origin.partition}] "
        f"offset {origin.offset}{row}, {id_}: {_short(letter.reason, _LONGEST_REASON)}"
    )


def _short(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"
