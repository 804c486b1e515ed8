"""Make the table of a collection, or enrol an application's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from lancedb.table import LanceTable

from ...errors import Refused
from ...wording import count
from .apply import positions_of
from .check import is_key, problems
from .conditions import column
from .mapping import DELETED, JSON, JSON_FIELD, LEDGER_FIELDS, LIVE, ledger_rows, new_schema
from .marks import first_marks, lock_rows
from .quirks import execute
from .shape import POSITION, kept_as, remembered, shape_of
from .table import Connection, guarded_merge

ROWS_PER_STEP = 10_000
READS_OF_ITS_OWN = (
    "note: deleted ids and marks become rows of {table} without a vector; an application that reads it other than by "
    f"vector searches adds the filter `{LIVE}`, and needs lancedb 0.34 or newer"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change, and how it is shown to people."""

    statement: str
    run: Callable[[], object]


def create(connection: Connection, *, complete: bool, dry_run: bool) -> tuple[str, ...]:
    """See ``Store.create``. Every step may be repeated, so an interrupted enrolment is finished by the next call."""
    if found := problems(connection):
        raise Refused(found)
    table = connection.find()
    steps = _new_table(connection) if table is None else _enrolment(connection, table)
    for step in () if dry_run else steps:
        step.run()
    connection.forget_layout()
    marks = _missing_marks(connection, complete=complete, known=table is not None and not steps)
    if marks and not dry_run:
        layout = connection.layout()
        guarded_merge(connection.latest(), ledger_rows(marks, layout), layout)
    shown = [step.statement for step in steps]
    return tuple([*shown, _marks_statement(connection, complete)] if marks else shown)


def _new_table(connection: Connection) -> list[Step]:
    metadata = connection.placement.metadata
    assert isinstance(metadata, str)  # problems() refuses typed columns without a table
    schema = new_schema(connection.collection, connection.placement, metadata)
    columns = ", ".join(f"{field.name} {field.type}" for field in schema)
    name = connection.placement.table
    return [
        Step(
            f"create table {name} ({columns}), unenforced primary key {connection.placement.id}",
            lambda: connection.database().create_table(name, schema=schema, exist_ok=True),
        )
    ]


def _enrolment(connection: Connection, table: LanceTable) -> list[Step]:
    schema, placement = table.schema, connection.placement
    steps: list[Step] = []
    if DELETED not in schema.names:
        steps.append(Step(READS_OF_ITS_OWN.format(table=placement.table), _nothing))
    if schema.field(placement.id).nullable:
        steps.append(_nullable(table, placement.id, nullable=False))
    for name in (placement.vector, *connection.metadata_names()):  # deleted ids have neither
        if not schema.field(name).nullable:
            steps.append(_nullable(table, name, nullable=True))
    if not is_key(schema.field(placement.id)):
        steps.append(
            Step(
                f"alter table {placement.table} set unenforced primary key {placement.id}",
                lambda: table.set_unenforced_primary_key([placement.id]),
            )
        )
    json_column = isinstance(placement.metadata, str)
    wanted = [*LEDGER_FIELDS, JSON_FIELD] if json_column else list(LEDGER_FIELDS)
    missing = [field for field in wanted if field.name not in schema.names]
    if missing:
        names = ", ".join(f"{field.name} {field.type}" for field in missing)
        steps.append(Step(f"alter table {placement.table} add columns {names}", lambda: table.add_columns(missing)))
    if json_column and (JSON not in schema.names or _unmirrored(connection, table)):
        steps.append(
            Step(
                f"merge {JSON} from {placement.metadata} into {placement.table}, where it is null",
                lambda: _mirror(connection, table),
            )
        )
    if (kept := shape_of(schema, [placement.id, *connection.metadata_names()])) != remembered(schema):
        types = ", ".join(f"{name} {kind}" for name, kind in kept.items())
        steps.append(
            Step(
                f"alter table {placement.table} note at column {POSITION} the types of today: {types}",
                lambda: table.update_field_metadata({"path": POSITION, "metadata": kept_as(kept)}),
            )
        )
    return steps


def _nothing() -> None:
    """A step that is only to be read."""


def _nullable(table: LanceTable, name: str, *, nullable: bool) -> Step:
    verb = "drop not null" if nullable else "set not null"
    change: dict[str, object] = {"path": name, "nullable": nullable}
    return Step(f"alter table {table.name} alter column {name} {verb}", lambda: table.alter_columns(change))  # type: ignore[arg-type]


def _missing_marks(connection: Connection, *, complete: bool, known: bool) -> list[tuple[str, int | None]]:
    """First marks and locks that the table does not have yet; all of them if it is not ``known`` to have any."""
    partitions = connection.collection.partitions
    rows = [*first_marks(partitions, connection.collection.epoch, complete=complete), *lock_rows(range(partitions))]
    if not known:
        return rows
    held = positions_of(connection.latest(), [row_id for row_id, _ in rows], connection.layout())
    return [(row_id, position) for row_id, position in rows if held.get(row_id, -1) < (position or 0)]


def _marks_statement(connection: Connection, complete: bool) -> str:
    state = "complete" if complete else "incomplete"
    partitions = count(connection.collection.partitions, "partition")
    return f"merge marks of {partitions} into {connection.placement.table}: applied 0, {state}"


def _unmirrored(connection: Connection, table: LanceTable) -> bool:
    return table.count_rows(_unmirrored_where(connection)) > 0


def _unmirrored_where(connection: Connection) -> str:
    return f"{column(JSON)} IS NULL AND {column(connection.metadata_names()[0])} IS NOT NULL AND {LIVE}"


def _mirror(connection: Connection, table: LanceTable) -> None:
    """Fill the JSONB mirror of the application's rows; one that it rewrites meanwhile is left for the next call."""
    metadata, id_field = connection.metadata_names()[0], table.schema.field(connection.placement.id)
    text_field = table.schema.field(metadata)
    table.checkout_latest()
    query = table.search().where(_unmirrored_where(connection)).select([id_field.name, metadata]).limit(None)
    for page in query.to_batches(batch_size=ROWS_PER_STEP):
        texts = page.column(metadata)
        mirrored = pa.array(map(_without_repeats, texts.to_pylist()), pa.string())
        parsed = pa.ExtensionArray.from_storage(JSON_FIELD.type, mirrored)
        rows = pa.Table.from_arrays(
            [page.column(id_field.name), texts, parsed], schema=pa.schema([id_field, text_field, JSON_FIELD])
        )
        unchanged = f"target.{JSON} IS NULL AND target.`{metadata}` = source.`{metadata}`"
        merge = table.merge_insert(id_field.name).when_matched_update_all(where=unchanged)
        execute(merge, rows)


def _without_repeats(text: str | None) -> str | None:
    """``text`` with the last value of a key that is there twice, which readers see: Lance would refuse the whole table.

    Such a row cannot be copied: ``start`` lists it.
    """
    repeats = False

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal repeats
        document = dict(pairs)
        repeats |= len(document) < len(pairs)
        return document

    if text is None:
        return None
    document = json.loads(text, object_pairs_hook=members)
    return json.dumps(document, ensure_ascii=False) if repeats else text
