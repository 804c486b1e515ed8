"""Searches, the filters of searches, and the index."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRecord
from ...schemas.batch import Hit
from ...schemas.filters import Condition, Scalar
from .catalog import Column
from .connection import Connection, Wire, run
from .layout import Layout, quote
from .mapping import MAX_INDEX_DIMENSION, METRICS
from .quirks import SEARCH_ON
from .wire.vectors import vector_value

MIN_EF_SEARCH, MAX_EF_SEARCH = 40, 1000
SMALL_ROWS = 10_000  # up to here an exact scan is as quick as an index

_INTEGERS = frozenset({"int2", "int4", "int8"})
_TEXTS = frozenset({"text", "varchar"})
_EXACT_ACCESS = ("btree", "hash", "gin", "gist", "spgist", "brin")  # indexes of any other kind may leave rows out

_SETTINGS = "SELECT set_config('hnsw.ef_search', $1, true), set_config('statement_timeout', $2, true), " + SEARCH_ON

# What is left of the time since the transaction began, by the server's own clock.
_TIME_LEFT = """
SELECT set_config('statement_timeout', greatest(1, ceil(
  $1::float8 - 1000 * extract(epoch FROM clock_timestamp() - transaction_timestamp())::float8))::bigint || 'ms', true)
"""


def search(
    connection: Connection,
    layout: Layout,
    vector: NDArray[np.float32],
    k: int,
    conditions: Sequence[Condition],
    timeout_s: float,
) -> list[Hit]:
    """See ``Store.search``. The distance is computed by pgvector; the index alone decides what is approximate.

    An index may end its scan before k rows have passed the filter, however many would: then every row is looked at.
    """
    distance = layout.distance("$1")
    parameters: list[object] = [Wire(vector_value(vector)), k]
    where = [where_clause(layout, condition, parameters) for condition in conditions]
    columns = f"t.{layout.id}::text, {_score(layout, distance)}, {layout.position}, {layout.metadata}"
    statement = f"SELECT {columns} FROM {layout.table} t WHERE {' AND '.join((layout.present, *where))} ORDER BY "
    timeout_ms = max(1, math.ceil(timeout_s * 1000))
    with connection.transaction():
        ef_search = min(max(k, MIN_EF_SEARCH), MAX_EF_SEARCH)
        run(connection, _SETTINGS, [str(ef_search), f"{timeout_ms}ms"])
        hits = _hits(run(connection, f"{statement}{distance} LIMIT $2", parameters))
        if len(hits) < k and _may_leave_rows_out(connection, layout):
            run(connection, _TIME_LEFT, [timeout_ms])
            hits = _hits(run(connection, f"{statement}({distance}) + 0 LIMIT $2", parameters))  # of no index
    return sorted(hits, key=lambda hit: -hit.score)  # SEARCH_ON: they come nearly sorted


def _score(layout: Layout, distance: str) -> str:
    return METRICS[layout.collection.space.metric].score.format(distance)


def _hits(found: Iterable[tuple[Any, ...]]) -> list[Hit]:
    """Without the rows that have no score: a zero vector has no direction, so no cosine. They sort last."""
    return [
        Hit(id=id_, score=score, metadata=json.loads(metadata), position=position)
        for id_, score, position, metadata in found
        if not math.isnan(score)
    ]


def _may_leave_rows_out(connection: Connection, layout: Layout) -> bool:
    """Whether the table has an index that a nearest-neighbour search could have used."""
    found = run(
        connection,
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam "
        "WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND m.amname <> ALL($2::text[]))",
        [layout.table, list(_EXACT_ACCESS)],
    ).fetchone()
    return found == (True,)


def where_clause(layout: Layout, condition: Condition, parameters: list[object]) -> str:
    """One condition as SQL over row ``t``; its values are appended to ``parameters``. Raises InvalidRecord."""
    if layout.json is not None:
        return _json_clause(layout.json, condition, parameters)
    column = next((column for column in layout.columns if column.name == condition.field), None)
    if column is None:
        known = ", ".join(column.name for column in layout.columns)
        raise InvalidRecord(f"filter.{condition.field}", "is not a metadata column", f"use one of {known}")
    return _column_clause(column, condition, parameters)


def _json_clause(column: Column, condition: Condition, parameters: list[object]) -> str:
    cast = f"t.{quote(column.name)}" if column.type == "jsonb" else f"t.{quote(column.name)}::jsonb"
    terms = []
    for value in condition.values:
        if value is None:
            field = _bind(parameters, condition.field)
            terms.append(f"coalesce({cast} -> {field}::text, 'null') = 'null'")
        elif _holds_nul(value):
            terms.append("false")  # no jsonb holds one
        else:
            # Containment, because a GIN index of the application serves it; for a scalar member it is equality.
            wanted = _bind(parameters, json.dumps({condition.field: value}))
            terms.append(f"{cast} @> {wanted}::jsonb")
    return f"({' OR '.join(terms)})"


def _column_clause(column: Column, condition: Condition, parameters: list[object]) -> str:
    name = f"t.{quote(column.name)}"
    comparable = _comparable(column, condition.values)
    if comparable is None:  # as JSON, which is what the application is shown
        wanted = [json.dumps(value) for value in condition.values if value is not None and not _holds_nul(value)]
        terms = [f"to_jsonb({name}) = ANY({_bind(parameters, wanted)}::text[]::jsonb[])"]
    else:
        type_, values = comparable
        terms = [f"{name} = ANY({_bind(parameters, values)}::{type_}[])"] if values else ["false"]
    if None in condition.values:
        json_null = column.type in ("json", "jsonb")
        terms.append(f"coalesce({name}::jsonb, 'null') = 'null'" if json_null else f"{name} IS NULL")
    return f"({' OR '.join(terms)})"


def _holds_nul(value: Scalar) -> bool:
    return isinstance(value, str) and "\0" in value


def _comparable(column: Column, values: Sequence[Scalar]) -> tuple[str, list[object]] | None:
    """The values that a column of that type can equal at all, and the type to compare in: one that its index serves.

    None for a type that is compared as JSON instead.
    """
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if column.type == "bool":
        return "boolean", [value for value in values if isinstance(value, bool)]
    if column.type in _INTEGERS:
        whole = [int(value) for value in numbers if value == int(value)]
        return "bigint", [value for value in whole if -(2**63) <= value < 2**63]
    if column.type == "float8":
        return "double precision", [float(value) for value in numbers if _is_exact_double(value)]
    if column.type == "numeric":
        return "numeric", [Decimal(repr(value)) for value in numbers]
    if column.type in _TEXTS:
        return "text", [value for value in values if isinstance(value, str) and not _holds_nul(value)]
    return None


def _is_exact_double(value: int | float) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _bind(parameters: list[object], value: object) -> str:
    parameters.append(value)
    return f"${len(parameters)}"


def has_index(connection: Connection, layout: Layout) -> bool:
    """Whether a valid approximate index serves the collection's metric."""
    found = run(
        connection,
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam "
        "JOIN pg_opclass o ON o.oid = i.indclass[0] "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        "WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL "
        "AND m.amname IN ('hnsw', 'ivfflat') AND o.opcname = $2 AND a.attname = $3)",
        [layout.table, METRICS[layout.collection.space.metric].opclass, layout.vector_name],
    ).fetchone()
    assert found is not None
    return bool(found[0])


def wants_index(connection: Connection, layout: Layout) -> bool:
    """Whether the collection is large enough for an index, and pgvector can build one of that dimension."""
    if layout.collection.space.dimension > MAX_INDEX_DIMENSION:
        return False
    found = run(connection, f"SELECT count(*) FROM (SELECT FROM {layout.table} LIMIT $1) AS at_most", [SMALL_ROWS])
    row = found.fetchone()
    assert row is not None
    return bool(row[0] == SMALL_ROWS)


def build_index(connection: Connection, layout: Layout) -> None:
    """See ``Store.build_index``. CONCURRENTLY, so that workers can write meanwhile."""
    if layout.collection.space.dimension > MAX_INDEX_DIMENSION:
        return  # searches stay exact
    if not has_index(connection, layout):
        run(connection, "SET lock_timeout = 0")  # it waits for every transaction that began before it
        run(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {layout.index}")  # the remains of an interrupted build
        run(connection, create_index(layout))
    run(connection, f"ANALYZE {layout.table}")


def create_index(layout: Layout) -> str:
    """The statement that builds the index."""
    return (
        f"CREATE INDEX CONCURRENTLY {layout.index_name} ON {layout.table} USING hnsw ({layout.vector} {layout.opclass})"
    )
