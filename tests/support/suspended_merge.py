"""A LanceDB writer of its own process, which says when it begins to merge a large batch (run as a script)."""

from __future__ import annotations

import sys

import numpy as np
from store_data import PLACEMENT, batch_of, collection
from vecferry.errors import Transient
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.options import Options

DIMENSION = 64
FILLERS = 40_000


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(uri: str) -> None:
    store = open_store(Options.model_validate({"uri": uri}), collection(dimension=DIMENSION, partitions=1), PLACEMENT)
    ids = ["k", *(f"n{number}" for number in range(FILLERS))]
    events = batch_of(ids, np.ones((len(ids), DIMENSION), np.float32), [{}] * len(ids), first=3)
    events.partitions[:] = 0
    store.applied()
    say("merging")
    while True:
        try:
            say(str(store.apply(events, ())[0]))
        except Transient:
            continue
        return


if __name__ == "__main__":
    main(sys.argv[1])
