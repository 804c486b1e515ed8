"""What does not keep a table from being used, and is still worth knowing before a migration relies on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...schemas.collection import Placement
from ...wording import count
from .catalog import ForeignKey, Table
from .refusals import metadata_names


def table_remarks(table: Table, placement: Placement) -> Iterator[str]:
    """One line each."""
    for trigger in table.triggers:
        if trigger.before:
            yield (
                f"trigger {trigger.name} runs before each row that is written: it may set what is not mapped "
                "(updated_at); a write whose mapped columns it changes, or that it holds back, becomes a dead letter"
            )
        else:
            yield f"trigger {trigger.name} runs for what vecferry writes, as it does for the application"
    for key in table.keys:
        yield f"a delete of a row that {key.table} points at ({key.name}) {_on_delete(key)}"
    written = {placement.id, placement.vector, *metadata_names(placement)}
    for index in table.unique:
        if index.columns != (placement.id,) and written & set(index.columns):
            # Events of different ids have no common order: one id may take a value before another has released it.
            yield (
                f"unique index {index.name}: a write that takes a value which another id still has becomes a dead "
                "letter; once that id has released it, a redrive stores it"
            )


def _on_delete(key: ForeignKey) -> str:
    match key.on_delete:
        case "c":
            return f"deletes those rows of {key.table} too"
        case "n" | "d":
            return f"leaves them pointing at {'nothing' if key.on_delete == 'n' else 'their default'}"
        case _:
            return "is refused by the database and becomes a dead letter: publish deletes of other rows only"


def without_vector(rows: int) -> str:
    """What becomes of rows that have no vector."""
    return (
        f"{count(rows, 'row')} without a vector stay as they are and are left out: not copied, compared or found, "
        "until a write through the publisher brings a vector"
    )
