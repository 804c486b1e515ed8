"""A process that ends without closing its publisher: what was accepted arrives, or a line says that it is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mock_kafka import MockKafka
from publishing import read_all

pytestmark = pytest.mark.slow

PROGRAM = """
import multiprocessing, os, sys
import numpy as np
from vecferry.producers import Publisher
from vecferry.schemas.collection import Collection, Space

servers, how = sys.argv[1:]
source = os.dup(0)  # multiprocessing closes the standard input of its children
space = Space(model="mini", version="1", dimension=8, metric="cosine")
collection = Collection(name="products", space=space, partitions=4, epoch=3)

def publish():
    publisher = Publisher(collection, topic="shop.products.events", producer_config={"bootstrap.servers": servers})
    publisher.upsert("warm", np.ones(8)).result(timeout=30)
    print("ready", flush=True)
    os.read(source, 1)
    publisher.upsert("a", np.ones(8))
    publisher.upsert_many(["b", "c"], np.ones((2, 8)))
    return publisher

if how == "child":
    child = multiprocessing.get_context("fork").Process(target=publish)
    child.start()
    child.join()
    sys.exit(child.exitcode)
kept = publish()
if how == "error":
    raise SystemExit("a fault of the application")
"""


def end(kafka: MockKafka, how: str, *, away: bool = False) -> tuple[int, str]:
    """Run the program; Kafka goes away before its last writes, or answers late. Its exit code and what it said."""
    command = [sys.executable, "-c", PROGRAM, kafka.bootstrap_servers, how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        kafka.set_down() if away else kafka.answer_after(300)
        _, said = program.communicate("go\n", timeout=60)
    if not away:
        kafka.answer_after(0)
    return program.returncode, said


@pytest.mark.parametrize(
    ("how", "code", "said"), [("", 0, ""), ("error", 1, "a fault of the application\n"), ("child", 0, "")]
)
def test_what_kafka_takes_a_moment_later_is_not_lost_with_the_process(
    kafka: MockKafka, how: str, code: int, said: str
) -> None:
    assert end(kafka, how) == (code, said)
    assert sorted(read_all(kafka, 4).ids) == ["a", "b", "c", "warm"]


def test_writes_that_are_lost_with_the_process_are_counted_and_named(kafka: MockKafka) -> None:
    _, said = end(kafka, "", away=True)
    assert "ends without close() of the publisher of shop.products.events" in said
    assert "Kafka did not acknowledge 2 publications: 'a': not acknowledged yet; 2 of the batch of 2" in said
