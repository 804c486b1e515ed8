"""A placement resolved against the catalogue, and the statements that follow from it alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from ...schemas.collection import Collection, Placement
from ...schemas.position import base_position
from .catalog import Column, Extension, Table
from .mapping import METRICS, POSITION, companion

_VARCHAR_HEADER = 4  # pg_attribute.atttypmod of varchar(n) is n + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Quoted names and types, ready for a statement. ``columns`` is empty when there is one ``json`` column, and when
    the collection has no metadata here."""

    table: str
    deleted: str
    partitions: str
    snapshots: str
    id: str
    id_type: str  # as a cast: text, bigint or uuid
    id_collate: str  # what makes a text compare as the column does; "" where it does so by itself
    id_max_chars: int | None
    vector: str
    vector_name: str  # unquoted
    vector_oid: int
    extension: str  # the schema of pgvector
    present: str  # of row ``t``: it has a vector, so it belongs to the collection
    changed_by_triggers: bool  # what is written may not be what comes back
    index: str  # qualified
    index_name: str  # as CREATE INDEX wants it
    json: Column | None
    columns: tuple[Column, ...]
    base: int
    collection: Collection

    @property
    def position(self) -> str:
        """The position of row ``t``; a row without one counts as BASE."""
        return f"coalesce(t.{POSITION}, {self.base})"

    @property
    def metadata(self) -> str:
        """The metadata of row ``t`` as JSON text; null keys of typed columns are left out."""
        if self.json is not None:
            return f"coalesce(t.{quote(self.json.name)}::text, '{{}}')"
        if not self.columns:
            return "'{}'"
        # concat_ws leaves nulls out, at the top level only; json_strip_nulls would reach into nested objects.
        members = [f"{literal(f'{_json_key(c.name)}:')} || {_member(c)}" for c in self.columns]
        return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"

    @property
    def vector_type(self) -> str:
        """As a cast, whatever the search path names."""
        return f"{self.extension}.vector"

    @property
    def opclass(self) -> str:
        """Of an index that serves the collection's metric."""
        return f"{self.extension}.{METRICS[self.collection.space.metric].opclass}"

    def distance(self, vector: str) -> str:
        """The distance of row ``t`` from the expression ``vector``."""
        operator = METRICS[self.collection.space.metric].distance
        return f"t.{self.vector} OPERATOR({self.extension}.{operator}) {vector}::{self.vector_type}"


def _member(column: Column) -> str:
    text = f"to_json(t.{quote(column.name)})::text"
    return f"nullif({text}, 'null')" if column.type in ("json", "jsonb") else text


def _json_key(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote(*parts: str) -> str:
    """A quoted, possibly qualified, name."""
    return sql.Identifier(*parts).as_string(None)


def literal(value: str | int) -> str:
    """A value inside a statement."""
    return sql.Literal(value).as_string(None)


def make_layout(table: Table, collection: Collection, placement: Placement, extension: Extension) -> Layout:
    """The layout of a table that ``refusals`` found no problem with."""
    id_column, vector_column = table.columns[placement.id], table.columns[placement.vector]
    one_json = isinstance(placement.metadata, str)
    names = (placement.metadata,) if isinstance(placement.metadata, str) else placement.metadata
    columns = tuple(table.columns[name] for name in names)
    limited = id_column.type == "varchar" and id_column.modifier >= 0
    return Layout(
        table=quote(table.schema, table.name),
        **{name: quote(table.schema, companion(table.name, name)) for name in ("deleted", "partitions", "snapshots")},
        id=quote(placement.id),
        id_type=collection.id_type,
        id_collate="" if id_column.collation is None else f" COLLATE {quote(*id_column.collation)}",
        id_max_chars=id_column.modifier - _VARCHAR_HEADER if limited else None,
        vector=quote(placement.vector),
        vector_name=placement.vector,
        vector_oid=extension.vector_oid,
        extension=quote(extension.schema),
        present=f"t.{quote(placement.vector)} IS NOT NULL" if vector_column.nullable else "true",
        changed_by_triggers=any(trigger.before for trigger in table.triggers),
        index=quote(table.schema, companion(table.name, "hnsw")),
        index_name=quote(companion(table.name, "hnsw")),
        json=columns[0] if one_json else None,
        columns=() if one_json else columns,
        base=base_position(collection.epoch),
        collection=collection,
    )
