"""Work-arounds for faults of lancedb (0.40), each with a test that fails once the fault is mended.

One more is not here, because the whole adapter rests on it: the lock rows of ``marks.py``, without which Lance misses a
conflict between inserts (``test_lancedb_suspended`` shows what comes of it).
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

PACKAGE = "lance_namespace_urllib3_client"

_loading = threading.RLock()


def _defer(spec: ModuleSpec) -> ModuleType:
    """The package of ``spec``, whose submodules can be imported, and which runs its own code at the first other use."""
    module = module_from_spec(spec)

    def load(name: str) -> object:
        with _loading:
            if vars(module).pop("__getattr__", None) is not None and spec.loader is not None:
                spec.loader.exec_module(module)
        try:
            return vars(module)[name]
        except KeyError:
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}") from None

    vars(module)["__getattr__"] = load
    return module


def defer_rest_client() -> None:
    """Let ``import lancedb`` do without the clients of its REST service. Call it before anything imports lancedb.

    lancedb imports the models of ``lance_namespace_urllib3_client``, and with them the whole package: validators of
    some hundred operations, built at import, are nearly half of the time that ``import lancedb`` takes (lance mended
    its own import: lance-format/lance#9273). A table on disk or in a bucket never calls them. Afterwards a package
    stands in that one's place that loads the rest when somebody asks for it: nothing is taken away from an application
    that uses it, and a package that was imported before stays as it is.
    """
    if PACKAGE not in sys.modules and (spec := find_spec(PACKAGE)) is not None:
        sys.modules[PACKAGE] = _defer(spec)


class Finite(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """Vectors that are known to be finite, on their way to Lance.

    lancedb looks for NaN in every list of floats that it is given, by way of an int64 per float: 7 % of a merge. The
    decoders have looked already, at live events and at snapshot blocks alike, and EventBatch promises it. A type of its
    own is not looked into: lancedb casts it to that of the table's column, which copies nothing.
    """

    def __init__(self, vectors: pa.DataType) -> None:
        super().__init__(vectors, "vecferry.finite")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, vectors: pa.DataType, serialized: bytes) -> Finite:
        return cls(vectors)


def below_source(name: str, otherwise: int) -> str:
    """SQL of a merge: the ``name`` of the target, ``otherwise`` where it is null, is below that of the source.

    Spelled out: behind a function such as coalesce, Lance does not find the columns of the target.
    """
    target, source = f"target.{name}", f"source.{name}"
    return f"{target} < {source} OR ({target} IS NULL AND {otherwise} < {source})"


def execute(merge: Any, rows: pa.Table) -> Any:
    """Run ``merge`` with ``rows``; returns Lance's MergeResult.

    ``use_index``: through an index that the application has on its id a merge panics, or updates nothing without a word
    (lancedb/lancedb#3515, lance-format/lance#7596). ``on_bad_vectors``: lancedb takes a null vector for a bad one.
    """
    return merge.use_index(False).execute(rows, on_bad_vectors="null")


def is_absent(uri: str) -> bool:
    """Whether there is no database at ``uri``, as far as a look can tell: to connect would make its directory."""
    return "://" not in uri and not Path(uri).exists()


def is_missing_table(error: ValueError) -> bool:
    """Whether ``error`` says that there is no such table: lancedb has no exception of its own for that."""
    return "was not found" in str(error)


def is_timeout(error: Exception) -> bool:
    """Whether ``error`` says that a search took too long: lancedb raises a RuntimeError for that."""
    return "timeout" in str(error).lower() or isinstance(error, TimeoutError)
