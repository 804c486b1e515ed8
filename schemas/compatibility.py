"""Can a reader's schema represent what a writer's schema wrote?

Source: Apache Avro 1.12 specification, "Schema Resolution". BACKWARD means ``unreadable(new, old) == []`` for every old
definition, FORWARD means ``unreadable(old, new) == []``.
"""

from __future__ import annotations

from typing import Any

Schema = Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def unreadable(reader: Schema, writer: Schema) -> list[str]:
    """Why ``reader`` cannot read every record of ``writer``; [] when it can.

    Both are non-recursive schemas with full names, as fastavro parses them.
    """
    return _compare(reader, writer, "", {}, {})


def _compare(
    reader: Schema, writer: Schema, at: str, readers: dict[str, Schema], writers: dict[str, Schema]
) -> list[str]:
    reader, writer = _resolve(reader, readers), _resolve(writer, writers)
    if isinstance(writer, list):
        return [line for branch in writer for line in _compare(reader, branch, at, readers, writers)]
    if isinstance(reader, list):
        tried = [_compare(branch, writer, at, readers, writers) for branch in reader]
        return [] if [] in tried else [f"{at or 'record'}: no branch of the reader's union takes {_kind(writer)!r}"]
    kind = _kind(reader)
    if kind != _kind(writer):
        return (
            []
            if kind in _PROMOTIONS.get(_kind(writer), ())
            else [f"{at or 'record'}: {_kind(writer)!r} is not {kind!r}"]
        )
    match kind:
        case "record":
            return _compare_records(reader, writer, at, readers, writers)
        case "enum":
            unknown = [] if "default" in reader else sorted(set(writer["symbols"]) - set(reader["symbols"]))
            return _compare_names(reader, writer, at) + [f"{at}: the reader lacks symbol {name!r}" for name in unknown]
        case "fixed":
            sizes = (reader["size"], writer["size"])
            return _compare_names(reader, writer, at) + (
                [] if sizes[0] == sizes[1] else [f"{at}: sizes {sizes} differ"]
            )
        case "array":
            return _compare(reader["items"], writer["items"], f"{at}[]", readers, writers)
        case "map":
            return _compare(reader["values"], writer["values"], f"{at}{{}}", readers, writers)
    return []


def _compare_records(
    reader: Schema, writer: Schema, at: str, readers: dict[str, Schema], writers: dict[str, Schema]
) -> list[str]:
    found = _compare_names(reader, writer, at)
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        name = f"{at}.{field['name']}" if at else field["name"]
        source = next(
            (written[alias] for alias in (field["name"], *field.get("aliases", ())) if alias in written), None
        )
        if source is not None:
            found += _compare(field["type"], source["type"], name, readers, writers)
        elif "default" not in field:
            found.append(f"{name}: the writer lacks it and it has no default")
    return found


def _compare_names(reader: Schema, writer: Schema, at: str) -> list[str]:
    names = {reader["name"].rpartition(".")[2], *(alias.rpartition(".")[2] for alias in reader.get("aliases", ()))}
    name = writer["name"].rpartition(".")[2]
    return [] if name in names else [f"{at or 'record'}: {name!r} is not named {reader['name']!r}"]


def _resolve(schema: Schema, named: dict[str, Schema]) -> Schema:
    if isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
        schema = schema["type"]
    if isinstance(schema, dict) and "name" in schema:
        named[schema["name"]] = schema
    return named.get(schema, schema) if isinstance(schema, str) else schema


def _kind(schema: Schema) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)
