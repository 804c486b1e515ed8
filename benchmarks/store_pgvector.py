"""Live apply through ``Store.apply`` against the same guarded statement called directly, in turn within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

import numpy as np
import psycopg
from vecferry.schemas.batch import EventBatch, LiveMark, Op
from vecferry.schemas.collection import Collection, Placement, Space
from vecferry.schemas.position import encode_position
from vecferry.stores.pgvector.apply import apply_sql, encode_batch
from vecferry.stores.pgvector.catalog import read_server, read_table
from vecferry.stores.pgvector.connection import Connection, Session, Wire
from vecferry.stores.pgvector.layout import make_layout
from vecferry.stores.pgvector.store import PgvectorStore

from .pairs import paired

DIMENSION, BATCH_ROWS, BATCHES, ROUNDS = 384, 1000, 10, 16
PARTITIONS = 8
BOUND = 0.95


def run(url: str) -> list[dict[str, object]]:
    """One row for new ids and one for updates; ``ours`` and ``baseline`` are the median batch, in rows per second.

    The ratio is the median of those of the pairs: what runs beside this, and PostgreSQL's own work behind it, changes
    between batches. Makes a schema of its own in the database of ``url`` and drops it. Takes about a minute.
    """
    schema = f"bench_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
        admin.execute(f"CREATE SCHEMA {schema}".encode())
        try:
            speeds = _measure(url, schema)
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    return [
        paired(
            f"pgvector live apply, {kind}, {BATCH_ROWS} x {DIMENSION}",
            *([BATCH_ROWS / seconds for seconds in side] for side in sides),
            bound=BOUND,
            unit="rows/s",
        )
        for kind, sides in speeds.items()
    ]


def _measure(url: str, schema: str) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of each batch, ours and direct, pair by pair."""
    spent: dict[str, tuple[list[float], list[float]]] = {"new ids": ([], []), "updates": ([], [])}
    for round_ in range(ROUNDS):
        tables = [f"{schema}.{name}_{round_}" for name in ("ours", "direct")]
        stores = [_open(url, table) for table in tables]
        session = Session(url)
        with session.use() as connection:
            for epoch_offset, seconds in zip((0, BATCH_ROWS * BATCHES), spent.values(), strict=True):
                batches = [_batch(number, epoch_offset) for number in range(BATCHES)]
                ours = [_through_store(stores[0], batch) for batch in batches]
                _interleave(ours, _direct(connection, tables[1], batches), seconds)
        session.close()
        for store in stores:
            store.close()
    return spent


def _interleave(
    ours: Sequence[Callable[[], None]], direct: Sequence[Callable[[], None]], seconds: tuple[list[float], list[float]]
) -> None:
    """Run both batch by batch in turn, so that both meet the same noise, and note the seconds of each batch."""
    for number, pair in enumerate(zip(ours, direct, strict=True)):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            pair[which]()
            seconds[which].append(time.perf_counter() - start)


def _through_store(store: PgvectorStore, batch: EventBatch) -> Callable[[], None]:
    marks = [LiveMark(partition=partition, next_offset=int(batch.positions[-1])) for partition in range(PARTITIONS)]
    return lambda: _use(len(store.apply(batch, marks)))


def _direct(connection: Connection, table: str, batches: Sequence[EventBatch]) -> list[Callable[[], None]]:
    """The statements alone: the parameters are encoded beforehand, the outcomes are fetched and not looked at."""
    found, extension = read_table(connection, tuple(table.split("."))), read_server(connection).extension
    assert found is not None
    assert extension is not None
    layout = make_layout(found, _collection(), Placement(table=table), extension)
    sql = apply_sql(layout)
    partitions = list(range(PARTITIONS))

    def call(parameters: list[Wire], next_offset: int) -> None:
        with connection.transaction():
            connection.execute(sql.lock.encode(), [partitions])
            answer = connection.execute(sql.write.encode(), parameters).fetchone()
            connection.execute(sql.live.encode(), [partitions, [next_offset] * PARTITIONS])
        assert answer is not None
        _use(len(answer[0]))

    encoded = [(encode_batch(layout, batch)[1], int(batch.positions[-1])) for batch in batches]
    return [lambda given=given: call(*given) for given in encoded]  # type: ignore[misc]


def _use(outcomes: int) -> None:
    if outcomes != BATCH_ROWS:
        raise RuntimeError(f"{outcomes} outcomes for {BATCH_ROWS} rows")


def _collection() -> Collection:
    space = Space(model="benchmark", version="1", dimension=DIMENSION, metric="cosine")
    return Collection(name="benchmark", space=space, partitions=PARTITIONS)


def _open(url: str, table: str) -> PgvectorStore:
    store = PgvectorStore(url, _collection(), Placement(table=table))
    store.create(complete=True)
    return store


def _batch(number: int, first_offset: int) -> EventBatch:
    rng = np.random.default_rng(number)
    rows = range(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
    offsets = np.arange(rows.start, rows.stop, dtype=np.int64) + first_offset
    return EventBatch(
        ids=[f"sku-{row * 7919 % 1_000_003:07}" for row in rows],  # spread over the index, as real ids are
        ops=np.full(BATCH_ROWS, Op.UPSERT, dtype=np.int8),
        partitions=np.arange(BATCH_ROWS, dtype=np.int32) % PARTITIONS,
        positions=offsets + encode_position(1, 0),
        vectors=rng.standard_normal((BATCH_ROWS, DIMENSION)).astype(np.float32),
        metadata=[b'{"section": "libs", "rank": %d}' % row for row in rows],
    )
