"""Batches to Arrow and Arrow to rows; pure.

Columns of a collection's table, beside those that the application has of its own:

id                 text, Lance's unenforced primary key: without that mark two processes that merge the same absent id
                   both insert it
vector             fixed_size_list<float32>[d], null for a deleted id
metadata           JSON text as published, or several typed columns
vecferry_position  int64; null: a row that predates the pipeline, which counts as BASE
vecferry_deleted   bool; true: the id is remembered as deleted (or the row is a mark, see marks.py); null: not deleted
vecferry_json      the same metadata as JSONB (only beside JSON metadata): Lance parses it on write and filters by it,
                   so filters are exact and cost no Python object per row
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import Rejected
from ...schemas.batch import EventBatch, Op, Rows
from ...schemas.collection import Collection, Placement
from ...schemas.filters import Condition
from ...schemas.position import base_position
from .conditions import column, json_conditions, text, typed_conditions
from .quirks import Finite, below_source
from .shape import POSITION, kept_as
from .typed import kind_of, to_columns, to_json

DELETED = "vecferry_deleted"
JSON = "vecferry_json"
PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
LIVE = f"{DELETED} IS NOT TRUE"

LEDGER_FIELDS = (pa.field(POSITION, pa.int64()), pa.field(DELETED, pa.bool_()))
JSON_FIELD = pa.field(JSON, pa.json_(pa.utf8()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one collection lies in one existing table. Fields are the table's own, so that types match."""

    id: pa.Field
    vector: pa.Field
    metadata: tuple[pa.Field, ...]
    written: pa.Schema  # of the rows that ``to_arrow`` and ``ledger_rows`` make
    json: bool  # metadata is one JSON column
    enrolled: bool  # the table has the columns of vecferry
    dimension: int
    base: int  # the position of rows that have none
    epoch: int
    exact: frozenset[str]  # columns of float32 that were float64 at enrolment: nothing is rounded into them

    @property
    def row_columns(self) -> list[str]:
        """The columns that make up a row."""
        ledger = [POSITION, DELETED] if self.enrolled else []
        return [self.id.name, self.vector.name, *(field.name for field in self.metadata), *ledger]

    @property
    def compared_columns(self) -> list[str]:
        """The columns that make up a row, and what filters see of it."""
        return [*self.row_columns, *([JSON] if self.json and self.enrolled else [])]

    @property
    def live(self) -> str:
        """SQL: the row is neither deleted nor a mark."""
        return LIVE if self.enrolled else "true"

    @property
    def guard(self) -> str:
        """SQL of the merge: the incoming row is newer, or a lock."""
        return f"{below_source(POSITION, self.base)} OR source.{POSITION} IS NULL"


def new_schema(collection: Collection, placement: Placement, metadata: str) -> pa.Schema:
    """The schema of a table that vecferry makes itself."""
    vector = pa.list_(pa.float32(), collection.space.dimension)
    own = (
        pa.field(placement.id, pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field(placement.vector, vector),
        pa.field(metadata, pa.string()),
    )
    position, deleted = LEDGER_FIELDS
    kept = kept_as({field.name: str(field.type) for field in own if field.name != placement.vector})
    return pa.schema([*own, position.with_metadata(kept), deleted, JSON_FIELD])


def missing_columns(missing: Iterable[str], names: Sequence[str]) -> str:
    """What is wrong with a table of columns ``names`` that lacks ``missing``, and what to do."""
    lacks = f"no column {sorted(missing)} (it has {', '.join(names)})"
    if POSITION in names:  # it was enrolled or made with all of them
        return f"{lacks}; it was dropped or renamed after the enrolment, or the placement was changed: undo that"
    return f"{lacks}; name the table's own columns in the placement"


def layout_of(
    schema: pa.Schema, collection: Collection, placement: Placement, exact: frozenset[str] = frozenset()
) -> Layout:
    """The layout of a table whose columns all exist (``enrol.problems`` says whether they do)."""
    names = (placement.metadata,) if isinstance(placement.metadata, str) else placement.metadata
    id_, vector, metadata = schema.field(placement.id), schema.field(placement.vector), [*map(schema.field, names)]
    finite = vector.with_type(Finite(vector.type))
    json = [JSON_FIELD] if isinstance(placement.metadata, str) else []
    return Layout(
        id=id_,
        vector=vector,
        metadata=tuple(metadata),
        written=pa.schema([id_, finite, *LEDGER_FIELDS, *metadata, *json]),
        json=bool(json),
        enrolled=DELETED in schema.names,
        dimension=collection.space.dimension,
        base=base_position(collection.epoch),
        epoch=collection.epoch,
        exact=exact,
    )


def to_arrow(batch: EventBatch, layout: Layout) -> pa.Table:
    """n events as rows of the table; vectors are not copied. Raises Rejected for what can never be stored.

    Raises ArrowInvalid, which ``errors`` takes for the same, for metadata that is not UTF-8.
    """
    if batch.vectors.shape != (len(batch), layout.dimension):
        raise Rejected(f"vectors have the shape {batch.vectors.shape}, wanted ({len(batch)}, {layout.dimension})")
    if "\x00" in "".join(batch.ids):
        raise Rejected("an id contains NUL, which is reserved for the ledger; publish it without")
    deleted = batch.ops == Op.DELETE
    mask = pa.array(deleted) if deleted.any() else None
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(batch.vectors.ravel(), pa.float32()), type=layout.vector.type, mask=mask
    )
    metadata = _metadata_arrays(batch.metadata, deleted if mask is not None else None, layout)
    columns = [
        pa.array(batch.ids, layout.id.type),
        pa.ExtensionArray.from_storage(layout.written.field(layout.vector.name).type, vectors),
        pa.array(batch.positions),
        pa.array(deleted),
        *metadata,
    ]
    return pa.Table.from_arrays(columns, schema=layout.written)


def ledger_rows(rows: Sequence[tuple[str, int | None]], layout: Layout) -> pa.Table:
    """Marks and locks, given as (id, position), as rows of the table."""
    known = {
        layout.id.name: [row_id for row_id, _ in rows],
        POSITION: [position for _, position in rows],
        DELETED: [True] * len(rows),
    }
    arrays = [
        pa.array(known[field.name], field.type) if field.name in known else pa.nulls(len(rows), field.type)
        for field in layout.written
    ]
    return pa.Table.from_arrays(arrays, schema=layout.written)


def to_rows(table: pa.Table, layout: Layout) -> Rows:
    """Rows from the columns ``layout.row_columns``, or ``compared_columns``.

    Vectors are not copied unless a row has none or they are chunked.
    """
    n = table.num_rows
    metadata = (
        _texts(table[layout.metadata[0].name]) if layout.json else to_json(table, [f.name for f in layout.metadata])
    )
    deleted = _deleted(table) if layout.enrolled else np.zeros(n, np.bool_)
    filtered = _texts(table[JSON]) if JSON in table.column_names else None
    for row in np.flatnonzero(deleted):
        for texts in (metadata, *([] if filtered is None else [filtered])):
            texts[row] = b""
    positions = (
        table[POSITION].fill_null(layout.base).to_numpy() if layout.enrolled else np.full(n, layout.base, np.int64)
    )
    return Rows(
        ids=table[layout.id.name].to_pylist(),
        positions=positions,
        deleted=deleted,
        vectors=_vectors(table[layout.vector.name], layout.dimension, deleted),
        metadata=metadata,
        filtered=filtered,
    )


def predicate(conditions: Sequence[Condition], layout: Layout) -> str:
    """SQL: the row is live and meets ``conditions``."""
    if layout.json:
        parts = json_conditions(conditions, JSON)
    else:
        kinds = {field.name: kind for field in layout.metadata if (kind := kind_of(field.type)) is not None}
        parts = typed_conditions(conditions, kinds)
    return " AND ".join([layout.live, *parts])


def between(name: str, lower: str | None, upper: str | None) -> list[str]:
    """SQL: ``lower`` < the text column ``name`` <= ``upper``, in byte order; None is open."""
    bounds = [] if lower is None else [f"{column(name)} > {text(lower)}"]
    return bounds if upper is None else [*bounds, f"{column(name)} <= {text(upper)}"]


def _metadata_arrays(metadata: list[bytes], deleted: NDArray[np.bool_] | None, layout: Layout) -> list[pa.Array]:
    if not layout.json:
        return to_columns(metadata, layout.metadata, layout.exact)
    # As bytes first: the cast sees to it that every one of them is UTF-8, all at once, where ``pa.array`` would look at
    # one after the other.
    texts = pa.array(metadata, pa.binary(), mask=deleted).cast(pa.string())
    wanted = layout.metadata[0].type
    parsed = pa.ExtensionArray.from_storage(JSON_FIELD.type, texts)
    return [texts if wanted == texts.type else texts.cast(wanted), parsed]


def _texts(metadata: pa.ChunkedArray) -> list[bytes]:
    texts: list[bytes] = metadata.cast(pa.string()).fill_null("{}").cast(pa.large_binary()).to_pylist()
    return texts


def _deleted(table: pa.Table) -> NDArray[np.bool_]:
    deleted: NDArray[np.bool_] = table[DELETED].fill_null(False).to_numpy()
    return deleted


def _vectors(vectors: pa.ChunkedArray, dimension: int, deleted: NDArray[np.bool_]) -> NDArray[np.float32]:
    chunks = [_chunk_vectors(chunk, dimension) for chunk in vectors.chunks]
    matrix = chunks[0] if len(chunks) == 1 else np.concatenate([np.zeros((0, dimension), np.float32), *chunks])
    if vectors.null_count:
        without = vectors.is_null().to_numpy()
        matrix[without & ~deleted] = np.nan
    return matrix


def _chunk_vectors(chunk: pa.FixedSizeListArray, dimension: int) -> NDArray[np.float32]:
    values = chunk.values.slice(chunk.offset * dimension, len(chunk) * dimension)
    if chunk.null_count == 0 and values.null_count == 0:
        matrix: NDArray[np.float32] = values.to_numpy().reshape(-1, dimension)
        return matrix
    matrix = values.to_numpy(zero_copy_only=False).reshape(-1, dimension).copy()
    matrix[chunk.is_null().to_numpy(zero_copy_only=False)] = 0
    return matrix
