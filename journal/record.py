"""What every record of the journal is, and what becomes of one that a later version wrote. Pure.

A record is a JSON object. Its ``version`` says which version of its kind it has; one without counts as version 1.
Fields that this version does not know are kept and written again. So a field that older versions may pass over needs
no new version; one that they must not act without does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import Refused


class Record(BaseModel):
    """Base of all records. ``NEWEST``: the highest version of this kind that this release knows."""

    NEWEST: ClassVar[int] = 1
    model_config = ConfigDict(frozen=True, extra="allow")

    version: int = 1

    def encode(self) -> bytes:
        """JSON as UTF-8."""
        return self.model_dump_json().encode()


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Generic[R]):
    """A record that this version understands."""

    record: R


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A record that a later version wrote: of a later version, or with a value that this one does not know.

    ``raw`` is all of it, byte for byte; ``fields`` the same, decoded. ``version`` is None where it is not a number.
    ``problem`` names what is not known.
    """

    key: str
    raw: bytes
    version: int | None
    fields: Mapping[str, Any]
    problem: str

    def part(self, record: type[R]) -> R | None:
        """Those fields alone that ``record`` has, or None where one of them is missing or not known either."""
        try:
            return record.model_validate(
                {name: self.fields[name] for name in record.model_fields if name in self.fields}
            )
        except ValidationError:
            return None

    def encode(self) -> bytes:
        """The bytes as they were."""
        return self.raw

    def refusal(self) -> Refused:
        """What to raise where one must not go on without knowing."""
        return Refused(
            f"record {self.key!r} was written by a later version of vecferry ({self.problem}) and is left as it is; "
            "use that version for this"
        )


def decode(key: str, raw: bytes, record: type[R]) -> Known[R] | Unknown:
    """The record in ``raw``; raises Refused naming ``key`` when it is no record at all: not JSON, or not an object."""
    try:
        found = record.model_validate_json(raw)
    except ValidationError as error:
        fields = _fields(key, raw)
        version = fields.get("version", 1)
        problem = ", ".join(_described(entry["loc"], entry["input"], entry["type"]) for entry in error.errors())
        return Unknown(
            key=key, raw=raw, version=version if type(version) is int else None, fields=fields, problem=problem
        )
    if found.version <= record.NEWEST:
        return Known(record=found)
    problem = f"version {found.version}, this one knows {record.NEWEST}"
    return Unknown(key=key, raw=raw, version=found.version, fields=_fields(key, raw), problem=problem)


def _fields(key: str, raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unreadable(key, "not JSON") from error
    if not isinstance(fields, dict):
        raise _unreadable(key, "not an object")
    return fields


def _described(where: tuple[int | str, ...], value: object, kind: str) -> str:
    name = ".".join(map(str, where)) or "the document"
    if kind == "missing":
        return f"no {name}"
    return f"{name} {value!r:.60}"


def _unreadable(key: str, problem: str) -> Refused:
    return Refused(
        f"record {key!r} cannot be read ({problem}); use the version of vecferry that wrote it, or restore the topic"
    )
