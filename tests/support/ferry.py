"""A whole migration of a small table, run by the real commands, and an independent check of how it ended.

The application's side (the table, the writer with its ledger of acknowledged writes) and the final comparison use
psycopg and lancedb directly: nothing of the code under test judges itself, only the publisher is its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import lancedb
import numpy as np
import psycopg
import vecferry
from vecferry.local.postgres import create_database
from waiting import wait_until

DIMENSION = 16
PARTITIONS = 4
_CONFIG = """
namespace = "{namespace}"
[kafka]
bootstrap_servers = "{kafka}"
[kafka.client]
"session.timeout.ms" = 6000
[stores.old]
kind = "pgvector"
url = "{url}"
[stores.new]
kind = "lancedb"
uri = "{lance}"
[collections.products]
dimension = {dimension}
metric = "l2"
space = {{model = "random", version = "1"}}
partitions = {partitions}
[collections.products.in.old]
table = "products"
id = "sku"
vector = "embedding"
metadata = ["title", "section", "stock"]
[collections.products.in.new]
table = "products"
[migrations.products]
from = "old"
to = "new"
[backfill]
chunk_rows = 200
rows_per_s = 400
[worker]
commit_interval_ms = 200
"""


@dataclass(frozen=True, slots=True)
class State:
    """What an id must hold: ``vector`` is None for a deleted one. ``position`` is None for a row never written."""

    position: int | None
    vector: bytes | None
    metadata: Mapping[str, object]


@dataclass(slots=True)
class Ferry:
    """One migration in a directory of its own."""

    directory: Path
    url: str
    ledger: dict[str, State] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.directory / "vecferry.toml"

    def spawn(self, *arguments: str, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        """Run ``vecferry ARGUMENTS`` in the background, to die at ``failpoint`` if one is given."""
        environment = {**os.environ, "VECFERRY_CONFIG": str(self.config)}
        if failpoint is not None:
            environment["VECFERRY_FAILPOINT"] = failpoint
        with (self.directory / "commands.log").open("ab") as log:
            log.write(f"\n== {' '.join(arguments)} {failpoint or ''}\n".encode())
            log.flush()
            command = [sys.executable, "-m", "vecferry", *arguments]
            process = subprocess.Popen(command, env=environment, cwd=self.directory, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def run(self, *arguments: str, failpoint: str | None = None, timeout_s: float = 120) -> int:
        """Run ``vecferry ARGUMENTS`` to its end; returns its exit code (negative: killed by that signal)."""
        return self.spawn(*arguments, failpoint=failpoint).wait(timeout_s)

    def must(self, *arguments: str) -> None:
        """Run ``vecferry ARGUMENTS``; fail with what it printed unless it exits 0."""
        code = self.run(*arguments)
        assert code == 0, f"{arguments} exited {code}:\n{self.log()}"

    def log(self) -> str:
        return (self.directory / "commands.log").read_text(errors="replace")[-8_000:]

    def load(self, rows: int) -> None:
        """The application's table, as it is before anyone thinks of moving."""
        random_ = np.random.default_rng(7)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(
                "CREATE TABLE products (sku text PRIMARY KEY, title text NOT NULL, section text, stock bigint, "
                f"embedding vector({DIMENSION}) NOT NULL)"
            )
            for number in range(rows):
                id_, vector = f"sku-{number:05d}", random_.random(DIMENSION, dtype=np.float32)
                metadata = {"title": f"Thing {number}", "section": "libs" if number % 3 else "doc", "stock": number}
                connection.execute(
                    "INSERT INTO products VALUES (%s, %s, %s, %s, %s::real[]::vector)",
                    (id_, *metadata.values(), vector.tolist()),
                )
                self.ledger[id_] = State(None, vector.tobytes(), metadata)

    @contextmanager
    def writing(self, per_s: float = 60, seed: int = 1) -> Iterator[None]:
        """Publish upserts and deletes of old and new ids meanwhile; every acknowledged one enters the ledger."""
        stop, failures = threading.Event(), []

        def write() -> None:
            random_, numbers = random.Random(seed), np.random.default_rng(seed)
            pending: list[tuple[str, object, bytes | None, dict[str, object]]] = []
            with vecferry.open(str(self.config)) as pipeline, pipeline.publisher("products") as publisher:
                while not stop.wait(1 / per_s):
                    id_ = f"sku-{min(int(random_.paretovariate(0.3)) - 1, 2_000):05d}"
                    if random_.random() < 0.15:
                        pending.append((id_, publisher.delete(id_), None, {}))
                        continue
                    vector = numbers.random(DIMENSION, dtype=np.float32)
                    metadata = {"title": f"New {random_.random()}", "stock": random_.randrange(2**40)}
                    pending.append((id_, publisher.upsert(id_, vector, metadata), vector.tobytes(), metadata))
                for id_, delivery, vector_bytes, metadata in pending:
                    position = delivery.result(timeout=60).position  # type: ignore[attr-defined]
                    known = self.ledger.get(id_)
                    if known is None or known.position is None or position > known.position:
                        self.ledger[id_] = State(position, vector_bytes, metadata)

        def guarded() -> None:
            try:
                write()
            except BaseException as error:  # noqa: BLE001  raised below, in the test's thread
                failures.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(90)
        if failures:
            raise failures[0]
        assert not thread.is_alive()

    def wait_drained(self) -> None:
        """Until both stores hold the newest position of every id (or time out and let the comparison tell)."""
        newest = max((state.position for state in self.ledger.values() if state.position is not None), default=0)
        assert newest
        wait_until(lambda: self.differences() == [], 60, "both stores equal to the ledger")

    def differences(self) -> list[str]:
        """Every id whose state in a store is not the ledger's, read without vecferry."""
        found = []
        for store, rows in (("old", self._in_postgres()), ("new", self._in_lance())):
            for id_, expected in self.ledger.items():
                held = rows.pop(id_, None)
                if expected.vector is None:
                    if held is not None:
                        found.append(f"{store}: {id_} is back")
                elif held is None:
                    found.append(f"{store}: {id_} is missing")
                elif held != (expected.position, expected.vector, expected.metadata):
                    found.append(f"{store}: {id_} holds {held[0]}, {held[2]} instead of {expected}")
            found += [f"{store}: {id_} is extra" for id_ in rows]
        return found

    def _in_postgres(self) -> dict[str, tuple[int | None, bytes, dict[str, object]]]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT sku, vecferry_position, embedding::real[], title, section, stock FROM products"
            ).fetchall()
        return {
            id_: (position, np.array(vector, np.float32).tobytes(), _present(title=title, section=section, stock=stock))
            for id_, position, vector, title, section, stock in rows
        }

    def _in_lance(self) -> dict[str, tuple[int | None, bytes, dict[str, object]]]:
        base = 2**41 - 1  # a row without a position, in epoch 1
        table = lancedb.connect(self.directory / "lance").open_table("products").to_arrow()
        return {
            row["id"]: (
                None if row["vecferry_position"] == base else row["vecferry_position"],
                np.array(row["vector"], np.float32).tobytes(),
                json.loads(row["metadata"]),
            )
            for row in table.select(["id", "vector", "metadata", "vecferry_position", "vecferry_deleted"]).to_pylist()
            if not row["vecferry_deleted"]
        }

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


F = TypeVar("F", bound=Ferry)


def _present(**columns: object) -> dict[str, object]:
    return {name: value for name, value in columns.items() if value is not None}


@contextmanager
def ferry(directory: Path, kafka: str, postgres: str, *, rows: int = 2_000, kind: type[F] = Ferry) -> Iterator[F]:  # type: ignore[assignment]
    """An application with a table of ``rows`` rows and a configuration; its processes are ended on leaving."""
    url = create_database(postgres, f"ferry_{uuid.uuid4().hex[:12]}")
    made = kind(directory=directory, url=url)
    namespace = "e" + uuid.uuid4().hex[:10]
    text = _CONFIG.format(
        namespace=namespace,
        kafka=kafka,
        url=url,
        lance=directory / "lance",
        dimension=DIMENSION,
        partitions=PARTITIONS,
    )
    made.config.write_text(text)
    try:
        made.load(rows)
        yield made
    finally:
        made.close()
