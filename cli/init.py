"""``vecferry init``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError, Refused
from ..references import local_path
from .options import add_dry_run
from .output import Console, Result, Table

HELP = "write a commented configuration to start from"

TEMPLATE = """\
# vecferry: one file for the application, the workers and the operator.
# A value may be ${ENVIRONMENT_VARIABLE}, or file:PATH for a secret in a file. Keys after a single '#' show defaults.

namespace = "shop"                       # first part of every topic and consumer group

[kafka]
bootstrap_servers = "127.0.0.1:9092"
# [kafka.client]                         # any librdkafka property that carries no guarantee: TLS, SASL, timeouts
# "security.protocol" = "SASL_SSL"
# "sasl.mechanism" = "SCRAM-SHA-512"
# "sasl.username" = "vecferry"
# "sasl.password" = "file:/run/secrets/kafka"
# "max.in.flight" = "1"                  # a publisher that has more under way may not repeat a refused write

# --- stores: connections ------------------------------------------------------------------------------------------
[stores.old]
kind = "pgvector"
url = "postgresql://127.0.0.1:5432/shop" # "${DATABASE_URL}" keeps a password out of this file

[stores.new]
kind = "lancedb"
uri = "./lance"                          # a directory or an object store

# --- collections: what the vectors are, and how they lie in each store ----------------------------------------------
[collections.products]
dimension = 384
metric = "cosine"                        # cosine | dot | l2
space = {model = "all-MiniLM-L6-v2", version = "1"}   # vectors of another model are another space
partitions = 8                           # of the live topic; never change it afterwards
# epoch = 1                              # raised only when the live topic is made anew
# id_type = "text"                       # text | bigint | uuid

# A replica lies in the store of its own name, or in the one that its key `store` names, in a table of its own.
# [spaces.NAME], with model, version, dimension and metric, names a space for its key `space`.
[collections.products.in.old]
table = "products"
id = "id"
vector = "embedding"
metadata = ["title", "section"]          # several typed columns, or the name of one JSON column

[collections.products.in.new]
table = "products"
# id = "id"
# vector = "vector"
# metadata = "metadata"

# --- migrations: which store a collection leaves, and which one it goes to ------------------------------------------
[migrations.products]
from = "old"
to = "new"

# --- bounds: these are the defaults ---------------------------------------------------------------------------------
[worker]
# batch_rows = 20000                     # a batch ends at so many events,
# batch_bytes = 33554432                 # so many bytes,
# linger_ms = 20                         # or after waiting so long for more
# commit_interval_ms = 1000
# live_lag_bound_records = 5000          # above this the snapshot waits, so that live writes go first
# drain_timeout_s = 30.0                 # how long a stopping worker may take to finish its batches

[backfill]
# chunk_rows = 10000                     # the unit of resuming
# rows_per_s = 0.0                       # 0 = as fast as it goes
# max_live_lag_records = 10000           # the copy waits while a store is further behind,
# max_source_latency_ms = 1000.0         # or while the source answers slower
# uncarried = "stop"                     # rows that cannot be copied: "stop", or "skip" (left behind and listed)

[gates]
# max_lag_records = 1000                 # what a cutover asks of both stores
# max_verify_age_s = 3600.0              # how fresh a verification must be
# min_retention_h = 156.0                # what doctor asks of the live topic
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_dry_run(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Write the template to ``--config``; an existing file is never touched."""
    try:
        path = Path(local_path(args.config))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not args.dry_run:
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(TEMPLATE)
        except FileExistsError:
            raise Refused(f"{path} exists; remove it, or name another file with --config") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; name another file with --config") from error
    title = TEMPLATE if args.dry_run else f"{path} written"
    rows = list(_TO_EDIT.items())
    return Result(
        data={"path": str(path), "dry_run": args.dry_run, "content": TEMPLATE},
        tables=(Table(title=title, columns=("edit", "to say"), rows=rows),),
        next_steps=("vecferry doctor products", "vecferry enrol products --dry-run"),
    )


_TO_EDIT = {
    "[kafka]": "where Kafka is",
    "[stores.*]": "where the old and the new store are",
    "[collections.*]": "dimension, metric and model of the vectors; table and columns in each store",
    "[migrations.*]": "from which store to which",
}
