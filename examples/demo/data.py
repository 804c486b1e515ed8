"""What is migrated: a catalogue of packages as products, and the configuration that an operator would write for it."""

from __future__ import annotations

import json
from pathlib import Path

from vecferry.proof.catalogue import COLLECTION, METADATA, Catalogue
from vecferry.proof.world import World

CATALOGUE = Path(__file__).resolve().parents[1] / "data" / "catalog-5k.parquet"
CHUNKS = 12


def configuration(world: World, catalogue: Catalogue, copy_s: float) -> str:
    """``vecferry.toml`` of the migration."""
    rows = len(catalogue.ids)
    return f"""\
namespace = {json.dumps(world.namespace)}

[kafka]
bootstrap_servers = {json.dumps(world.kafka)}
[kafka.client]
"session.timeout.ms" = 6000           # the partitions of a killed worker move on after this
"fetch.min.bytes" = 100000            # one answer for many small records, at the price of up to 0.1 s each

[worker]
commit_interval_ms = 2000             # so a killed worker has something to read again
linger_ms = 100                       # fewer and larger merges into LanceDB

[stores.old]
kind = "pgvector"
url = {json.dumps(world.postgres)}
[stores.new]
kind = "lancedb"
uri = {json.dumps(str(world.lance))}

[collections.{COLLECTION}]
dimension = {catalogue.dimension}
metric = "cosine"
space = {{model = "all-MiniLM-L6-v2", version = "1"}}
partitions = 8
[collections.{COLLECTION}.in.old]
table = "products"
id = "sku"
vector = "embedding"
metadata = {json.dumps(METADATA)}
[collections.{COLLECTION}.in.new]
table = "products"

[migrations.{COLLECTION}]
from = "old"
to = "new"

[backfill]
chunk_rows = {max(1, -(-rows // CHUNKS))}
rows_per_s = {rows / copy_s:.1f}            # stretches the copy to about {copy_s:.0f} s: time to disturb it
"""
