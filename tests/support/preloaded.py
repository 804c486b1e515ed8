"""A WSGI application for ``gunicorn --preload``: what is opened on import belongs to the master process.

``/inherited`` answers with the errors of what the worker inherited, ``/ID`` with the row of that id, as JSON. As a
configuration file of gunicorn, this module opens a pipeline in each worker and closes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import vecferry
from ferry import DIMENSION

CONFIG = os.environ["VECFERRY_CONFIG"]
VECTOR = np.ones(DIMENSION, np.float32)

inherited: dict[str, Any] = {}
own: dict[str, Any] = {}


def preload() -> None:
    """Open in the master."""
    pipeline = vecferry.open(CONFIG)
    inherited.update(pipeline=pipeline, reader=pipeline.reader("products"), publisher=pipeline.publisher("products"))
    inherited["reader"].get(["sku-00001"])


def post_fork(server: object, worker: object) -> None:
    """Of gunicorn, in a new worker."""
    import preloaded  # gunicorn runs its configuration file as another module

    pipeline = vecferry.open(CONFIG)
    preloaded.own.update(pipeline=pipeline, reader=pipeline.reader("products"))


def worker_exit(server: object, worker: object) -> None:
    """Of gunicorn, at the end of a worker."""
    import preloaded

    preloaded.own["pipeline"].close()
    preloaded.inherited["pipeline"].close()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The WSGI application."""
    name = environ["PATH_INFO"].removeprefix("/")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "found": errors() if name == "inherited" else row_of(name)}).encode()]


def errors() -> list[str]:
    """The name of what each inherited part raises."""
    calls = (
        lambda: inherited["pipeline"].reader("products"),
        lambda: inherited["reader"].get(["sku-00001"]),
        lambda: inherited["publisher"].upsert("x", VECTOR, {"title": "x"}),
    )
    return [raised(call) for call in calls]


def raised(call: Callable[[], object]) -> str:
    """The name of the error that ``call`` raises, or what it returned."""
    try:
        return repr(call())
    except vecferry.VecferryError as error:
        return type(error).__name__


def row_of(id_: str) -> list[Any]:
    """Id and stock, as the worker's own reader finds them."""
    return [[row.id, row.metadata["stock"]] for row in own["reader"].get([id_], timeout=30)]


if __name__ == "preloaded":  # and not when it is the configuration file
    preload()
