"""The .avsc files, loaded, checked and named by their fingerprints.

``<name>.avsc`` is what this version writes. ``<name>.v<N>.avsc`` is a released copy, kept for ever: replay reads old
records. A change to ``<name>.avsc`` must stay readable both ways (a test holds it to the rule of ``compatibility``),
and a release adds its copy with the next N.

Fingerprint: CRC-64-AVRO of the Parsing Canonical Form, as the Avro specification defines both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import fastavro
from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from ..errors import Refused
from .compatibility import unreadable

Schema = Any  # an Avro schema as JSON has it: str, dict or list


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One schema: ``schema`` as fastavro parsed it, ``named`` its types by full name, ``fingerprint`` its 8 bytes."""

    fingerprint: bytes
    schema: Schema
    named: Mapping[str, Schema]


def define(schema: Schema) -> Definition:
    """Check a schema and name it.

    Raises Refused for a recursive type and for an array or a map whose items take no bytes: a few hostile bytes would
    exhaust the stack or the memory of a decoder.
    """
    named: dict[str, Schema] = {}
    problems: list[str] = []
    parsed = _plain(fastavro.parse_schema(schema, _write_hint=False))
    _check(parsed, named, (), problems)
    if problems:
        raise Refused(problems)
    canonical = to_parsing_canonical_form(parsed)
    return Definition(
        fingerprint=bytes.fromhex(fastavro_fingerprint(canonical, "CRC-64-AVRO")), schema=parsed, named=named
    )


def _plain(schema: Schema) -> Schema:
    # Without logical types: a time outside what datetime holds is no reason to refuse an event.
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def _check(schema: Schema, named: dict[str, Schema], inside: tuple[str, ...], problems: list[str]) -> int:
    """The least number of bytes that a value of ``schema`` takes; what is wrong with it goes to ``problems``."""
    match schema:
        case list():
            return 1 + min(_check(branch, named, inside, problems) for branch in schema)
        case {"type": "record", "name": name, "fields": fields}:
            named[name] = schema
            return sum(_check(field["type"], named, (*inside, name), problems) for field in fields)
        case {"type": "enum", "name": name}:
            named[name] = schema
            return 1
        case {"type": "fixed", "name": name, "size": size}:
            named[name] = schema
            return int(size)
        case {"type": "array", "items": items}:
            if _check(items, named, inside, problems) == 0:
                problems.append(f"array items take no bytes: {items!r}; give them a field")
            return 1
        case {"type": "map", "values": values}:
            _check(values, named, inside, problems)
            return 1
        case {"type": inner}:
            return _check(inner, named, inside, problems)
    return _check_name(schema, named, inside, problems)


def _check_name(name: str, named: dict[str, Schema], inside: tuple[str, ...], problems: list[str]) -> int:
    if name in inside:
        problems.append(f"{name} contains itself; a recursive type cannot be decoded safely")
        return 1
    if name in named:
        return _check(named[name], named, inside, problems)
    return {"null": 0, "float": 4, "double": 8}.get(name, 1)


@cache
def current(name: str) -> Definition:
    """The definition that this version writes, e.g. ``current("vector_event")``."""
    return define(_load(f"{name}.avsc"))


def released(name: str) -> Mapping[str, Definition]:
    """Every released definition of ``name``, by file name, oldest first."""
    found = (entry.name for entry in files(__package__).iterdir() if _is_release(entry.name, name))
    return {file: define(_load(file)) for file in sorted(found, key=lambda file: int(file.split(".")[-2][1:]))}


def writers(name: str, extra: Iterable[Schema] = ()) -> dict[bytes, Definition]:
    """By fingerprint, every definition whose records this version reads: current, released and ``extra``.

    Raises Refused for an ``extra`` schema that is unsafe, or whose records the current definition cannot represent.
    """
    reader = current(name)
    known = [reader, *released(name).values()]
    for schema in extra:
        writer = define(schema)
        problems = unreadable(reader.schema, writer.schema)
        if problems:
            raise Refused(problems)
        known.append(writer)
    return {definition.fingerprint: definition for definition in known}


def _is_release(file: str, name: str) -> bool:
    stem, _, version = file.removesuffix(".avsc").partition(".v")
    return file.endswith(".avsc") and stem == name and version.isdecimal()


def _load(file: str) -> Schema:
    return json.loads(files(__package__).joinpath(file).read_text(encoding="utf-8"))
