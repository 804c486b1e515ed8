"""How the metadata of a row is spelled so that every replica of the collection gives it back as it is. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from ..errors import InvalidRecord
from .fields import Field, RowFields
from .plain import encode, plain
from .values import Check, Unfit, check_of

_ROUNDS = 2  # of all columns of one name; after them none may change the value any more


class Spelling:
    """What ``replicas`` make of the values of a row; made once, then asked per row. Thread-safe.

    Where nothing is known of a replica, nothing is asked of a value on its account.
    """

    __slots__ = ("_checks", "_defaults", "_other")

    def __init__(self, replicas: Iterable[RowFields]) -> None:
        known = list(replicas)
        documents = [replica.document for replica in known if replica.document is not None]
        names = dict.fromkeys(name for replica in known for name in replica.metadata)
        columns = {name: [replica.metadata[name] for replica in known if name in replica.metadata] for name in names}
        self._other = _check(documents)
        self._checks = {name: _check([*fields, *documents]) for name, fields in columns.items()}
        self._defaults = {
            name: (next((field.default for field in fields if field.default is not None), None), fields[0].declared)
            for name, fields in columns.items()
            if any(field.required for field in fields)
        }

    def __bool__(self) -> bool:
        return self._other is not None or bool(self._checks)

    def row(self, metadata: Mapping[str, object], where: str = "metadata") -> Mapping[str, object]:
        """``metadata`` as the stores give it back; the same object if nothing changes.

        An omitted required field gets its column's constant default. Raises InvalidRecord naming the field.
        """
        spelled, checks, other = metadata, self._checks, self._other
        for name, value in metadata.items():
            check = checks.get(name, other)
            if value is None or check is None:
                continue
            found = _judged(check, value, where, name)
            if found is not value:
                if spelled is metadata:
                    spelled = dict(metadata)
                spelled[name] = found  # type: ignore[index]
        for name, (default, declared) in self._defaults.items():
            if spelled.get(name) is None:
                if default is None:
                    raise InvalidRecord(
                        f"{where}.{name}", f"is absent, and the column ({declared}) may not be null", "give it a value"
                    )
                check = checks[name]
                spelled = {**spelled, name: default if check is None else _judged(check, default, where, name)}
        return spelled

    def texts(self, metadata: Iterable[bytes]) -> list[bytes]:
        """Each text spelled, and as it is where that is not possible; b"" (no metadata) stays."""
        return [self._text_or_itself(text) for text in metadata]

    def _text_or_itself(self, metadata: bytes) -> bytes:
        try:
            return self.text(metadata) if metadata else metadata
        except InvalidRecord:
            return metadata

    def text(self, metadata: bytes) -> bytes:
        """As :meth:`row`, of a JSON object as text. Raises InvalidRecord, also for what is no JSON object."""
        try:
            document = json.loads(metadata, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise InvalidRecord("metadata", f"is not JSON ({error})", "publish the row again") from error
        if not isinstance(document, dict):
            raise InvalidRecord("metadata", f"{type(document).__name__} is not an object", "publish the row again")
        return encode({name: plain(value, f"metadata.{name}", 1) for name, value in self.row(document).items()})


def _judged(check: Check, value: object, where: str, name: str) -> object:
    try:
        return check(value)
    except Unfit as unfit:
        raise InvalidRecord(f"{where}.{name}", unfit.problem, unfit.remedy) from None
    except InvalidRecord as error:
        path = error.field.removeprefix("metadata")
        raise InvalidRecord(f"{where}.{name}{path}", error.problem, error.remedy) from None


def _check(fields: list[Field]) -> Check | None:
    """One check for all columns of a name; None where none asks for anything."""
    judging = {_essence(field): field for field in fields if field.kind != "json"}
    if not judging:
        return None
    checks = [check_of(field) for field in judging.values()]
    return checks[0] if len(checks) == 1 else _agreed(checks, " and ".join(f.declared for f in judging.values()))


def _essence(field: Field) -> str:
    return repr(field.model_copy(update={"declared": "", "required": False, "default": None}))


def _agreed(checks: list[Callable[[object], object]], declared: str) -> Check:
    def check(value: object) -> object:
        for one in checks * _ROUNDS:
            value = one(value)
        if all(_same(one(value), value) for one in checks):
            return value
        raise Unfit(f"{value!s:.60} does not come back alike from {declared}", "pass a value that all of them hold")

    return check


def _same(left: object, right: object) -> bool:
    return left is right or (isinstance(left, bool) == isinstance(right, bool) and left == right)
