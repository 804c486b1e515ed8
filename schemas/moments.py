"""Dates and times as PostgreSQL writes them into JSON. Pure: no clock is read."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

from .fields import Field

_DAY = r"(?P<day>\d{4}-\d\d-\d\d)"
_TIME = r"(?P<time>\d\d:\d\d(:\d\d)?)(?P<fraction>\.\d{1,12})?"
_ZONE = r"\s*(?P<zone>[Zz]|[+-]\d\d(:?\d\d){0,2})?"
_DATE = re.compile(_DAY, re.ASCII)
_CLOCK = re.compile(_TIME, re.ASCII)
_MOMENT = re.compile(rf"{_DAY}([Tt ]{_TIME}{_ZONE})?", re.ASCII)
# What Python's calendar does not hold: as text it is left to the store.
_BEYOND = re.compile(r"-?infinity|\d{5,6}-\d\d-\d\d.*|\d{4,6}-\d\d-\d\d.* BC")


class Unreadable(ValueError):
    """No such date or time, or not one that the column can hold."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def day(value: object, field: Field) -> str:
    """A ``date``: ``2026-01-01``."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        if _BEYOND.fullmatch(value):
            return value
        if _DATE.fullmatch(value):
            return _calendar(value, field).date().isoformat()
    raise _misfit(value, field, "pass a date (of a datetime: value.date()), or text like 2026-01-31")


def time_of_day(value: object, field: Field) -> str:
    """A ``time``: ``10:00:00.5``."""
    found = value if isinstance(value, time) else None
    if isinstance(value, str) and (match := _CLOCK.fullmatch(value)):
        moment = _calendar(f"2000-01-01T{match['time']}", field) + _fraction(match["fraction"])
        found = moment.time()
    if found is None or found.tzinfo is not None:
        raise _misfit(value, field, "pass a time without a zone, or text like 10:30:00")
    rounded = _rounded(datetime.combine(date(2000, 1, 1), found), field)
    if rounded.day != 1:
        raise _misfit(value, field, "use a time before 24:00")
    return _clock(rounded)


def local(value: object, field: Field) -> str:
    """A ``timestamp``: ``2026-01-01T10:00:00``. UTC is taken without its zone; another zone has no place in it."""
    if isinstance(value, str) and _BEYOND.fullmatch(value):
        return value
    moment = _moment(value, field, "pass a datetime without a zone, or text like 2026-01-31T10:30:00")
    if moment.utcoffset():
        raise _misfit(value, field, "convert it to UTC, or to what the column means, and drop its zone")
    moment = _rounded(moment.replace(tzinfo=None), field)
    return f"{moment.date().isoformat()}T{_clock(moment)}"


def instant(value: object, field: Field) -> str:
    """A ``timestamptz``: ``2026-01-01T10:00:00+00:00``, always in UTC. Without a zone nobody knows which one."""
    if isinstance(value, str) and _BEYOND.fullmatch(value):
        return value
    moment = _moment(value, field, "pass a datetime with a zone, or text like 2026-01-31T10:30:00Z")
    if moment.utcoffset() is None:
        raise _misfit(value, field, "say the zone: datetime(…, tzinfo=UTC), or text that ends in Z or +02:00")
    try:
        moment = _rounded(moment.astimezone(UTC), field)
    except OverflowError:
        raise _misfit(value, field, "use a year from 1 to 9999") from None
    return f"{moment.date().isoformat()}T{_clock(moment)}+00:00"


def _moment(value: object, field: Field, remedy: str) -> datetime:
    if isinstance(value, datetime) and value == value:  # what pandas calls NaT is a datetime that equals nothing
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str) and (match := _MOMENT.fullmatch(value)):
        text = match["day"] if match["time"] is None else f"{match['day']}T{match['time']}"
        zone = match["zone"] or ""
        return _calendar(text + ("+00:00" if zone in ("Z", "z") else zone), field) + _fraction(match["fraction"])
    raise _misfit(value, field, remedy)


def _calendar(text: str, field: Field) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Unreadable(f"{text!r} is no {field.declared} ({error})", "use a day and a time that exist") from None


def _fraction(text: str | None) -> timedelta:
    return timedelta(microseconds=int((Decimal(text or 0) * 10**6).quantize(Decimal(1), ROUND_HALF_UP)))


def _rounded(moment: datetime, field: Field) -> datetime:
    if field.precision is None or field.precision >= 6:
        return moment
    unit = 10 ** (6 - field.precision)
    over = moment.microsecond % unit
    return moment + timedelta(microseconds=unit - over if 2 * over >= unit else -over)


def _clock(moment: datetime) -> str:
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%H:%M:%S}{fraction}"


def _misfit(value: object, field: Field, remedy: str) -> Unreadable:
    return Unreadable(f"{value!r:.60} ({type(value).__name__}) does not fit, the column is {field.declared}", remedy)
