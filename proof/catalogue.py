"""The application that migrates: a product table with typed columns and an HNSW index, as it was before vecferry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .ledger import digest

COLLECTION = "products"
METADATA = ("summary", "section", "priority", "version", "architecture", "installed_kib")

_TABLE = """
CREATE TABLE products (
  sku text PRIMARY KEY, summary text NOT NULL, section text, priority text, version text, architecture text,
  installed_kib bigint, embedding vector({dimension}) NOT NULL
)"""
_INDEX = "CREATE INDEX products_embedding ON products USING hnsw (embedding vector_cosine_ops)"
_TYPES = ("text", "text", "text", "text", "text", "text", "int8", "bytea")
_INDEX_BYTES_PER_ROW = 3_000  # generous: the vector, and the links of its layers
_PARALLEL_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """n products: ``ids`` n texts, ``vectors`` float32 [n, d], ``metadata`` n objects."""

    ids: list[str]
    vectors: NDArray[np.float32]
    metadata: list[dict[str, Any]]

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.vectors.shape[1])

    def contents(self) -> dict[str, str]:
        """Id -> digest of the row."""
        rows = zip(self.ids, self.vectors, self.metadata, strict=True)
        return {id_: digest(vector, metadata) for id_, vector, metadata in rows}


def load(path: Path, rows: int | None) -> Catalogue:
    """The first ``rows`` products of a Parquet file; its half-precision vectors become float32."""
    table: pa.Table = pq.read_table(path)
    table = table if rows is None else table.slice(0, rows)
    column = table["embedding"].combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(table.num_rows, -1)
    return Catalogue(ids=table["id"].to_pylist(), vectors=vectors, metadata=table.select(list(METADATA)).to_pylist())


def create_table(url: str, catalogue: Catalogue, say: Callable[[str], None]) -> None:
    """Make and fill the application's table, without any trace of vecferry, then build its index. Blocks."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(_TABLE.format(dimension=catalogue.dimension))
        say(f"loading {len(catalogue.ids)} products into PostgreSQL")
        _copy(connection, catalogue)
        say(f"building an HNSW index over {len(catalogue.ids)} products, as the application has it")
        _build_index(connection, len(catalogue.ids))
        connection.execute("ANALYZE products")


def _copy(connection: psycopg.Connection[Any], catalogue: Catalogue) -> None:
    # pgvector's binary form: int16 dimension, int16 unused, big-endian float32. Text would take ten times as long.
    header = catalogue.dimension.to_bytes(2, "big") + b"\0\0"
    vectors = catalogue.vectors.astype(">f4")
    with connection.cursor().copy("COPY products FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(_TYPES)
        for id_, vector, metadata in zip(catalogue.ids, vectors, catalogue.metadata, strict=True):
            copy.write_row((id_, *(metadata[name] for name in METADATA), header + vector.tobytes()))


def _build_index(connection: psycopg.Connection[Any], rows: int) -> None:
    memory_mib = max(64, rows * _INDEX_BYTES_PER_ROW // 2**20)
    connection.execute(f"SET maintenance_work_mem = '{memory_mib}MB'")
    connection.execute(f"SET max_parallel_maintenance_workers = {2 if rows >= _PARALLEL_ROWS else 0}")
    try:
        connection.execute(_INDEX)
    except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
        # Parallel builds share their memory through /dev/shm, which containers often keep small.
        connection.execute("SET max_parallel_maintenance_workers = 0")
        connection.execute(_INDEX)
