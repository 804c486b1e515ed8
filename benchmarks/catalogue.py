"""What a backfill is measured with: an application's table of real vectors, and a configuration that moves it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from vecferry.config import Config, load_config

NAME = "products"
CONFIG = "vecferry.toml"
PARTITIONS = 4
MIN_ROWS = 40_000
COLUMNS = ("summary", "section", "priority", "version", "architecture", "installed_kib")


def make_config(kafka: str, url: str, directory: Path, dimension: int) -> Config:
    """A namespace of its own each time; written to ``directory`` too, for the command line."""
    directory.mkdir(parents=True, exist_ok=True)
    written = directory / CONFIG
    written.write_text(f"""
namespace = "bench{uuid.uuid4().hex[:10]}"
[kafka]
bootstrap_servers = "{kafka}"
[stores.old]
kind = "pgvector"
url = "{url}"
[stores.new]
kind = "lancedb"
uri = "{directory / "new"}"
[collections.{NAME}]
dimension = {dimension}
metric = "cosine"
space = {{model = "all-MiniLM-L6-v2", version = "1"}}
partitions = {PARTITIONS}
[collections.{NAME}.in]
old = {{table = "{NAME}", id = "id", vector = "embedding", metadata = {json.dumps(COLUMNS)}}}
new = {{table = "{NAME}"}}
[migrations.{NAME}]
from = "old"
to = "new"
""")
    return load_config(written)


def load_table(url: str, path: Path) -> tuple[int, int]:
    """An application's table with the rows of ``path`` in random order; returns dimension and number of rows.

    A small catalogue is repeated under other ids until there are enough rows: what a run costs once must not prevail.
    """
    table = pq.read_table(path)
    copies = -(-MIN_ROWS // table.num_rows)
    ids = pa.array([f"{id_}~{copy}" if copy else id_ for copy in range(copies) for id_ in table["id"].to_pylist()])
    table = pa.concat_tables([table] * copies).set_column(0, "id", ids)
    table = table.take(np.random.default_rng(1).permutation(table.num_rows))
    dimension = table.schema.field("embedding").type.list_size
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().astype(np.float32).reshape(-1, dimension)
    columns = [table[name].to_pylist() for name in ("id", *COLUMNS)]
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        texts = ", ".join(f"{name} text" for name in COLUMNS[:-1])
        cursor.execute(
            f"CREATE TABLE {NAME} (id text PRIMARY KEY, {texts}, {COLUMNS[-1]} bigint, "
            f"embedding vector({dimension}) NOT NULL)"
        )
        with cursor.copy(f"COPY {NAME} FROM STDIN") as copy:
            for *values, vector in zip(*columns, vectors.tolist(), strict=True):
                copy.write_row((*values, str(vector)))
        cursor.execute(f"VACUUM ANALYZE {NAME}")
    return dimension, len(vectors)
