"""A shop as it is today moves to another store and back: no wrong answer, no dead letter, nothing of it given up."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lancedb
import psycopg
import pytest
from shop import ROWS, WITHOUT_VECTOR, Shop, shop
from waiting import wait_until
from web_server import gunicorn

pytestmark = pytest.mark.server

CUSTOMERS = 4
SCREEN = {"COLUMNS": "80", "LINES": "24"}


def ask(address: str, path: str, **query: object) -> Any:
    """The shop's answer. Fails for an error of the application."""
    with urllib.request.urlopen(f"{address}/{path}?{urllib.parse.urlencode(query)}", timeout=90) as answer:
        return json.load(answer)


@dataclass(slots=True)
class Customers:
    """Threads that write to the shop and read what they wrote; each has articles of its own."""

    address: str
    titles: dict[str, str | None] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)
    answers: int = 0

    def shops(self, number: int, stop: threading.Event) -> None:
        """Until ``stop`` is set. Articles that an order line points at are never deleted."""
        random_ = random.Random(number)
        mine = [id_ for id_ in range(1, ROWS + 200) if id_ % CUSTOMERS == number and id_ % WITHOUT_VECTOR]
        try:
            while not stop.is_set():
                id_ = random_.choice(mine)
                self.one(str(id_), random_, deletes=id_ % 7 > 0 and random_.random() < 0.2)
        except Exception as error:  # noqa: BLE001  the test's thread shows it
            self.wrong.append(repr(error))

    def one(self, id_: str, random_: random.Random, *, deletes: bool) -> None:
        """Write or delete one article, and read it back wherever it is then served from."""
        number = random_.randrange(2**31)
        written = ask(self.address, "delete", id=id_) if deletes else ask(self.address, "write", id=id_, number=number)
        self.titles[id_] = None if deletes else f"Thing {number}"
        expected = [] if deletes else [[id_, f"Thing {number}"]]
        found = ask(self.address, "read", id=id_, token=written["token"])
        self.pids |= {written["pid"], found["pid"]}
        self.answers += 1
        if found["rows"] != expected or found["hits"] != expected:
            self.wrong.append(f"{id_}: {found} instead of {expected}")


@contextmanager
def shopping(address: str) -> Iterator[Customers]:
    """Customers in the shop meanwhile."""
    stop, customers = threading.Event(), Customers(address)
    threads = [threading.Thread(target=customers.shops, args=(number, stop)) for number in range(CUSTOMERS)]
    for thread in threads:
        thread.start()
    try:
        yield customers
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


def screen(made: Shop, *arguments: str) -> str:
    """What a command prints on a terminal of 80 columns and 24 lines."""
    command = [os.sys.executable, "-m", "vecferry", *arguments]  # type: ignore[attr-defined]
    environment = {**os.environ, "VECFERRY_CONFIG": str(made.config), **SCREEN}
    done = subprocess.run(command, env=environment, cwd=made.directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert max(map(len, lines)) <= 80, done.stdout
    assert len(lines) <= 24, done.stdout
    return done.stdout


def titles_in_postgres(made: Shop) -> dict[str, str]:
    with psycopg.connect(made.url) as connection:
        rows = connection.execute("SELECT id, title FROM articles WHERE embedding IS NOT NULL").fetchall()
    return {str(id_): title for id_, title in rows}


def titles_in_lance(made: Shop) -> dict[str, str]:
    table = lancedb.connect(made.directory / "lance").open_table("products").to_arrow()
    rows = table.select(["id", "metadata", "vecferry_deleted"]).to_pylist()
    return {row["id"]: json.loads(row["metadata"])["title"] for row in rows if not row["vecferry_deleted"]}


def moves_there_and_back(made: Shop, customers: Customers) -> None:
    """The whole migration, as its operator types it."""
    made.must("start", "products")
    made.must("verify", "products")
    for share in ("25", "100"):
        made.must("cutover", "products", "--to", share)
        seen = customers.answers
        wait_until(lambda seen=seen: customers.wrong or customers.answers > seen + 40, 90, "customers at the new route")
        assert "phase" in screen(made, "status", "products")
    made.must("rollback", "products")
    seen = customers.answers
    wait_until(lambda: customers.wrong or customers.answers > seen + 40, 90, "customers at the old route")


def test_a_shop_moves_there_and_back_without_a_wrong_answer(
    tmp_path: Path, kafka_bootstrap: str, postgres_url: str
) -> None:
    with shop(tmp_path, kafka_bootstrap, postgres_url) as made:
        before = titles_in_postgres(made)
        made.must("enrol", "products")
        for store in ("old", "new"):
            made.spawn("worker", "--store", store)
        wait_until(lambda: made.log().count("assigned") >= 2, 60, "the workers to have their partitions")
        with gunicorn("shop", made, workers=4, SHOP_PRELOADS="1") as address:
            assert "post_fork" in ask(address, "inherited")["error"]
            with shopping(address) as customers:
                moves_there_and_back(made, customers)
            assert customers.wrong == []
        assert len(customers.pids) == 4
        expected = {id_: title for id_, title in {**before, **customers.titles}.items() if title is not None}
        assert titles_in_postgres(made) == expected
        wait_until(lambda: titles_in_lance(made) == expected, 60, "the new store to have what was written")
        made.must("verify", "products")
        assert made.rows_without_vector() == ROWS // WITHOUT_VECTOR
        letters = json.loads(screen(made, "dlq", "list", "products", "--output", "json"))
        assert letters["letters"] == [], letters
        assert "CASCADE" not in (said := made.log()), said
