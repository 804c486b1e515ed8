"""Values as Python has them, as JSON has them. Pure.

JSON here is None, bool, int within 64 bits, finite float, str, list and dict with text keys, and Decimal for every
number that must keep its digits; ``encode`` writes them.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Context, Decimal
from uuid import UUID

import numpy as np
import orjson

from ..errors import InvalidRecord
from .collection import MAX_METADATA_DEPTH

EXACT = Context(prec=20_000)
MAX_DIGITS = 4_000  # Python reads no longer whole numbers from JSON, see sys.set_int_max_str_digits
_INT64 = range(-(2**63), 2**63)
_NO_JSON = "use text, numbers, booleans, None, lists, dicts, dates, times, Decimal or UUID"
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def unwrapped(value: object) -> object:
    """A scalar without the clothes of another library: NumPy's become Python's, and so do subclasses of text and int.

    Returns everything else as it is.
    """
    if isinstance(value, np.datetime64):
        return _moment(value)
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    return float(value) if isinstance(value, float) else value


def plain(value: object, path: str, depth: int = 0) -> object:
    """``value`` as JSON; raises InvalidRecord naming where JSON cannot hold it, or would change it."""
    if depth > MAX_METADATA_DEPTH:
        raise InvalidRecord(path.partition(".")[0], f"is nested deeper than {MAX_METADATA_DEPTH} levels", "flatten it")
    value = unwrapped(value)
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if value in _INT64 else exact(Decimal(value), path)
        case float():
            if math.isfinite(value):
                return value
            raise InvalidRecord(path, f"{value} is not JSON", "use a finite number, or None")
        case Decimal():
            return exact(value, path)
        case UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise InvalidRecord(path, f"key {key!r} is {type(key).__name__}", "use text keys")
            return {str.__str__(key): plain(inner, f"{path}.{key}", depth + 1) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(value)]
        case np.ndarray():
            return plain(value.tolist(), path, depth)
        case bytes() | bytearray() | memoryview():
            raise InvalidRecord(path, f"{type(value).__name__} is not JSON", "decode it, or encode it as base64 text")
    raise InvalidRecord(path, f"{type(value).__name__} is not JSON", _NO_JSON)


def exact(number: Decimal, path: str) -> Decimal:
    """``number`` if JSON and its readers can take it."""
    if not number.is_finite():
        raise InvalidRecord(path, f"{number} is not JSON", "use a finite number, or None")
    if abs(number.adjusted()) > MAX_DIGITS or len(number.as_tuple().digits) > MAX_DIGITS:
        raise InvalidRecord(path, f"is not JSON that can be read: it has more than {MAX_DIGITS} digits", "use text")
    return number if number else abs(number)  # minus zero comes back as zero


def encode(document: object) -> bytes:
    """The JSON text of what ``plain`` returned, in UTF-8; raises ValueError for a lone surrogate."""
    try:
        return _encode_json(document).encode()
    except TypeError:  # a Decimal
        return orjson.dumps(document, default=_literal)


def _literal(number: object) -> orjson.Fragment:
    assert isinstance(number, Decimal)
    # With an exponent only where the number has one: then readers take it for a float.
    return orjson.Fragment(str(number) if number.as_tuple().exponent > 0 else f"{number:f}")  # type: ignore[operator]


def _moment(value: np.datetime64) -> object:
    if np.isnat(value):
        return None
    unit = np.datetime_data(value.dtype)[0]
    return value.astype("datetime64[D]" if unit in ("Y", "M", "W", "D") else "datetime64[us]").item()
