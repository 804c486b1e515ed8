"""A value as the column of a store gives it back: ``"2026-01-01T10:00:00Z"`` becomes ``"2026-01-01T10:00:00+00:00"``.

Stores must hold equal content at equal positions, so a value that a column would spell otherwise is spelled so before
it is published, and one that it can never hold is refused. Numbers and times are rounded to the digits that the column
declares, as PostgreSQL rounds them; nothing else is changed silently. Pure. docs/developer/values.md is the table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from uuid import UUID

import numpy as np

from . import moments
from .fields import Field
from .plain import EXACT, MAX_DIGITS, exact, plain, unwrapped

Check = Callable[[object], object]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # as text both come back; JSON has no such numbers
_EXACT_FLOATS = 2**53
_TENTH = Decimal("0.1")


class Unfit(ValueError):
    """The column can never hold the value. ``remedy``: what to pass instead."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def check_of(field: Field) -> Check:
    """The function that spells values for ``field``: JSON as ``plain`` has it; raises Unfit, and what ``plain`` does.

    A value of a kind that this version does not know is left as it is: only the store can judge it.
    """
    make = _CHECKS.get(field.kind)
    return _unjudged if make is None else make(field)


def _unjudged(value: object) -> object:
    return plain(value, "metadata")


def _text(field: Field) -> Check:
    longest, padded = field.length, field.kind == "char"

    def check(value: object) -> object:
        if type(value) is not str:
            value = unwrapped(value)
            if isinstance(value, (UUID, Decimal, date, time)):
                value = plain(value, "metadata")
                value = f"{value:f}" if isinstance(value, Decimal) else value
            if not isinstance(value, str):
                raise _misfit(value, field, "pass str(value)")
        if longest is not None and len(value) > longest:
            raise Unfit(f"has {len(value)} characters, the column is {field.declared}", "shorten it")
        return value.ljust(longest or 0) if padded else value

    return check


def _bool(field: Field) -> Check:
    def check(value: object) -> object:
        value = unwrapped(value)
        if isinstance(value, bool):
            return value
        raise _misfit(value, field, "pass True or False")

    return check


def _int(field: Field) -> Check:
    low, high = field.low, field.high

    def check(value: object) -> object:
        if type(value) is not int:
            if isinstance(value, (float, np.floating)) and _EXACT_FLOATS < abs(float(value)) < math.inf:
                raise Unfit(f"{value!r} is a float, which has not all digits of such a number", "pass int(value)")
            number = _number(value, field, "pass an int")
            if number != number.to_integral_value():
                raise Unfit(f"{number} is not a whole number, the column is {field.declared}", "round it, or use int()")
            value = int(number)
        assert isinstance(value, int)
        if low <= value <= high:
            return value
        raise Unfit(f"{_shown(value)} does not fit, the column is {field.declared}", f"use {low} to {high}")

    return check


def _numeric(field: Field) -> Check:
    scale = field.scale
    unit = None if scale is None else Decimal(1).scaleb(-scale, EXACT)
    whole = None if field.precision is None or scale is None else field.precision - scale

    def check(value: object) -> object:
        if type(value) is int and unit is None and abs(value) < _EXACT_FLOATS:
            return value
        if unit is None and _is_not_finite(value):
            return value
        number = _number(value, field, "pass a number or a Decimal")
        if unit is None:
            return _unscaled(number)
        rounded = number.quantize(unit, ROUND_HALF_UP, EXACT)
        if whole is not None and rounded and rounded.adjusted() >= whole:
            raise Unfit(
                f"{_shown(number)} does not fit, the column is {field.declared}",
                f"use at most {max(0, whole)} digits before the point",
            )
        return exact(rounded if scale and scale > 0 else rounded.quantize(Decimal(1), context=EXACT), "metadata")

    return check


def _unscaled(number: Decimal) -> Decimal:
    # PostgreSQL writes every digit and never an exponent.
    return exact(number.quantize(Decimal(1), context=EXACT) if _exponent(number) > 0 else number, "metadata")


def _float(field: Field) -> Check:
    def check(value: object) -> object:
        if type(value) is float:
            if abs(value) < _EXACT_FLOATS:
                return value or 0.0
        elif type(value) is int and abs(value) <= _EXACT_FLOATS:
            return value
        if _is_not_finite(value):
            return value
        return _shortest(_as_float(_number(value, field, "pass a number"), field))

    return check


def _single(field: Field) -> Check:
    """A column of 32 bits: ``real`` comes back with the fewest digits, others as the float64 that is the same."""
    shortest = field.kind == "real"

    def check(value: object) -> object:
        number = _as_float(_number(value, field, "pass a number"), field)
        with np.errstate(over="ignore"):
            single = np.float32(number)
        if not np.isfinite(single):
            raise Unfit(f"{number!r} does not fit, the column is {field.declared}", "use at most 3.4e38")
        return float(str(single)) if shortest else float(single)

    return check


def _as_float(number: Decimal, field: Field) -> float:
    value = float(number)
    if math.isinf(value):
        raise Unfit(f"{_shown(number)} does not fit, the column is {field.declared}", "use at most 1.8e308")
    if abs(number) > _EXACT_FLOATS and _exponent(number) == 0 and Decimal(value) != number:
        remedy = "pass float(value) if the nearest will do, else keep it in a numeric or text column"
        raise Unfit(f"{_shown(number)} has more digits than {field.declared} keeps", remedy)
    return value or 0.0


def _shortest(value: float) -> float | Decimal:
    """The fewest digits that lie nearer to ``value`` than to any other float: 1e23 lies half way between two.

    Python takes such digits, PostgreSQL does not (d2s.c, ``acceptBounds``).
    """
    if abs(value) < _EXACT_FLOATS:
        return value
    halves = [_middle(Decimal(value), Decimal(math.nextafter(value, to))) for to in (math.inf, -math.inf)]
    if Decimal(repr(value)) not in halves:
        return value
    for digits in range(14, 17):
        text = f"{value:.{digits}e}"
        if float(text) == value and Decimal(text) not in halves:
            return Decimal(text)
    return value


def _middle(left: Decimal, right: Decimal) -> Decimal:
    return EXACT.divide(EXACT.add(left, right), Decimal(2))


def _uuid(field: Field) -> Check:
    def check(value: object) -> object:
        value = unwrapped(value)
        try:
            return str(value if isinstance(value, UUID) else UUID(value))  # type: ignore[arg-type]
        except (ValueError, AttributeError, TypeError):
            raise _misfit(value, field, "pass a UUID, or its text") from None

    return check


def _enum(field: Field) -> Check:
    def check(value: object) -> object:
        value = unwrapped(value)
        if isinstance(value, str) and value in field.labels:
            return value
        raise _misfit(value, field, f"use {', '.join(field.labels)}")

    return check


def _array(field: Field) -> Check:
    element = None if field.items is None else check_of(field.items)

    def check(value: object) -> object:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, (list, tuple)):
            raise _misfit(value, field, "pass a list")
        if element is None:
            return plain(value, "metadata")
        if any(isinstance(item, (list, tuple)) for item in value):
            if not value[0] or len({len(item) if isinstance(item, (list, tuple)) else -1 for item in value}) > 1:
                raise Unfit("is a list of lists of several lengths, or of none", "give all of them one length")
            return [check(item) for item in value]
        return [None if item is None else element(item) for item in value]

    return check


def _json(field: Field) -> Check:
    if field.kind == "json":  # kept as text
        return _unjudged
    return lambda value: jsonb(plain(value, "metadata"))


def jsonb(value: object) -> object:
    """JSON as ``jsonb`` gives it back: it never writes an exponent, and what has none must not look like an int."""
    match value:
        case float() if abs(value) >= 1e16:
            return Decimal(repr(value)).quantize(_TENTH, context=EXACT)
        case Decimal() if _exponent(value) > 0:
            return value.quantize(_TENTH, context=EXACT)
        case dict():
            return {key: jsonb(inner) for key, inner in value.items()}
        case list():
            return [jsonb(inner) for inner in value]
    return value


def _moment(read: Callable[[object, Field], str]) -> Callable[[Field], Check]:
    def of(field: Field) -> Check:
        def check(value: object) -> object:
            try:
                return read(unwrapped(value), field)
            except moments.Unreadable as error:
                raise Unfit(error.problem, error.remedy) from None

        return check

    return of


def _number(value: object, field: Field, remedy: str) -> Decimal:
    """``value`` as a number; text counts, a boolean does not."""
    value = unwrapped(value)
    try:
        match value:
            case bool():
                raise _misfit(value, field, f"{remedy}: int(value) makes 0 or 1 of it")
            case int() if value.bit_length() < 3 * MAX_DIGITS:
                return Decimal(value)
            case float() if math.isfinite(value):
                return Decimal(repr(value))
            case Decimal() if value.is_finite() and abs(value.adjusted()) <= MAX_DIGITS:
                return value
            case str() if len(value) <= MAX_DIGITS and _NUMBER.fullmatch(value.strip()):
                return _number(Decimal(value.strip()), field, remedy)
    except InvalidOperation:
        pass
    raise _misfit(value, field, remedy)


def _is_not_finite(value: object) -> bool:
    return isinstance(value, str) and value in _NOT_FINITE


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite
    return exponent


def _misfit(value: object, field: Field, remedy: str) -> Unfit:
    return Unfit(f"{_shown(value)} ({type(value).__name__}) does not fit, the column is {field.declared}", remedy)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 300:
        return "a number of that size"
    return f"{value!r:.60}" if not isinstance(value, Decimal) else f"{value!s:.60}"


_CHECKS: dict[str, Callable[[Field], Check]] = {
    "text": _text,
    "char": _text,
    "bool": _bool,
    "int": _int,
    "numeric": _numeric,
    "float": lambda field: _single(field) if field.bits == 32 else _float(field),
    "real": _single,
    "uuid": _uuid,
    "enum": _enum,
    "array": _array,
    "json": _json,
    "jsonb": _json,
    "date": _moment(moments.day),
    "time": _moment(moments.time_of_day),
    "timestamp": _moment(moments.local),
    "timestamptz": _moment(moments.instant),
}
