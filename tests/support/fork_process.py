"""An application that opens everything, forks, and tells what its children and it saw.

``python fork_process.py CONFIG``. JSON on standard output: ``children``, a list of call -> [error, what it said,
seconds]; ``exit_code`` of a child that leaves as scripts do; ``reads`` of the parent meanwhile, and the ``wrong`` ones
among them; ``after``, the ids that it reads once all children are gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading

import numpy as np
import vecferry
from ferry import DIMENSION
from forking import Work, in_child

IDS = [f"sku-{number:05d}" for number in range(20)]
VECTOR = np.ones(DIMENSION, np.float32)
METADATA = {"title": "A thing", "section": "libs", "stock": 1}
CHILDREN = 3


class Application:
    """What is opened before the fork."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.pipeline = vecferry.open(config)
        self.publisher = self.pipeline.publisher("products")
        self.reader = self.pipeline.reader("products")
        self.async_reader = self.pipeline.async_reader("products")
        self.reads = 0
        self.wrong: list[str] = []
        self._stop = threading.Event()

    def write(self, id_: str) -> None:
        token = self.publisher.upsert(id_, VECTOR, METADATA).result(timeout=30)
        self.reader.get([id_], after=token, timeout=30)

    def watch(self) -> None:
        """Read all the while, and look at every answer."""
        while not self._stop.is_set():
            for id_ in IDS:
                try:
                    found = [row.id for row in self.reader.get([id_], timeout=30)]
                except vecferry.VecferryError as error:
                    found = [repr(error)]
                self.reads += 1
                if found != [id_]:
                    self.wrong.append(f"{id_}: {found}")

    def refused(self) -> dict[str, Work]:
        """Calls that a child must not make."""
        return {
            "pipeline.reader": lambda: self.pipeline.reader("products"),
            "pipeline.async_reader": lambda: self.pipeline.async_reader("products"),
            "pipeline.publisher": lambda: self.pipeline.publisher("products"),
            "get": lambda: self.reader.get(IDS),
            "search": lambda: self.reader.search(VECTOR, 5, filter={"section": "libs"}),
            "async search": lambda: asyncio.run(self.async_reader.search(VECTOR, 5)),
            "upsert": lambda: self.publisher.upsert("child", VECTOR, METADATA),
            "flush": self.publisher.flush,
        }

    def allowed(self) -> dict[str, Work]:
        """What a child may do: leave everything to its parent, and open its own."""
        return {
            "publisher.close": self.publisher.close,
            "reader.close": self.reader.close,
            "async close": lambda: asyncio.run(self.async_reader.close()),
            "pipeline.close": self.pipeline.close,
            "own": self.use_own,
        }

    def use_own(self) -> int:
        """Read and write through a pipeline of the child's own; how many rows it found."""
        with vecferry.open(self.config) as own:
            token = own.publisher("products").upsert(f"child-{os.getpid()}", VECTOR, METADATA).result(timeout=30)
            return len(own.reader("products").get(IDS, after=token, timeout=30))

    def stop(self) -> None:
        """End the watching."""
        self._stop.set()


def main(config: str) -> None:
    """Fork ``CHILDREN`` children of multiprocessing, and one that ends as a script does."""
    application = Application(config)
    application.write("before")
    watchers = [threading.Thread(target=application.watch, daemon=True) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    calls = {**application.refused(), **application.allowed()}
    children = [in_child(calls) for _ in range(CHILDREN)]
    child = os.fork()
    if child == 0:
        sys.exit(5)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    application.stop()
    for watcher in watchers:
        watcher.join()
    application.write("after")
    after = [row.id for row in application.reader.get(["before", "after"])]
    application.pipeline.close()
    answers = [{name: [a.error, a.said, a.took_s] for name, a in answers.items()} for answers in children]
    found = {"children": answers, "exit_code": exit_code, "reads": application.reads, "wrong": application.wrong}
    sys.stdout.write(json.dumps({**found, "after": after}))


if __name__ == "__main__":
    main(sys.argv[1])
