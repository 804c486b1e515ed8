"""Records of the control and progress topics as typed values. Logs once per key that a later version wrote one."""

from __future__ import annotations

import logging
from typing import TypeVar, assert_never

from ..forks import ModuleLock
from ..log.port import Table
from .record import Known, Record, Unknown, decode

R = TypeVar("R", bound=Record)

_log = logging.getLogger("vecferry.journal")

_said: set[str] = set()
_said_lock = ModuleLock()


def read(table: Table, key: str, record: type[R]) -> Known[R] | Unknown | None:
    """The record under ``key``, or None; raises Refused when its bytes are no record."""
    raw = table.get(key)
    return None if raw is None else parse(key, raw, record)


def read_all(table: Table, prefix: str, record: type[R]) -> dict[str, Known[R] | Unknown]:
    """The records under every key that starts with ``prefix``, by the rest of the key; raises Refused."""
    return {key.removeprefix(prefix): parse(key, raw, record) for key, raw in table.items(prefix).items()}


def require(table: Table, key: str, record: type[R]) -> R | None:
    """As :func:`read`, for a caller that needs the record: raises Refused, with the remedy, for Unknown."""
    found = read(table, key, record)
    return None if found is None else required(found)


def required(found: Known[R] | Unknown) -> R:
    """The record; raises Refused, with the remedy, for Unknown."""
    match found:
        case Known(record=known):
            return known
        case Unknown():
            raise found.refusal()
        case _:
            assert_never(found)


def known(table: Table, key: str, record: type[R]) -> R | None:
    """As :func:`read`, for a caller that can do without the record: None for Unknown."""
    found = read(table, key, record)
    return found.record if isinstance(found, Known) else None


def all_known(table: Table, prefix: str, record: type[R]) -> dict[str, R]:
    """As :func:`read_all`, without Unknown records."""
    found = read_all(table, prefix, record)
    return {rest: entry.record for rest, entry in found.items() if isinstance(entry, Known)}


def parse(key: str, raw: bytes, record: type[R]) -> Known[R] | Unknown:
    """The record in ``raw``; raises Refused naming ``key`` when it is none at all.

    The first Unknown under a key is logged, so that people learn of it and no log fills up.
    """
    found = decode(key, raw, record)
    if isinstance(found, Unknown):
        _say_once(found)
    return found


def _say_once(found: Unknown) -> None:
    with _said_lock:
        if found.key in _said:
            return
        _said.add(found.key)
    said = "a later version wrote record %s (%s); it is left as it is, and the rest goes on without it"
    _log.warning(said, found.key, found.problem)
