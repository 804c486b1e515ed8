"""Work-arounds for faults of lancedb (0.40), each with a test that fails once the fault is mended.

One more is part of ``marks.py``: without its lock rows Lance misses a conflict between inserts
(``test_lancedb_suspended`` shows the harm).
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import BuiltinFunctionType, ModuleType
from typing import Any

import pyarrow as pa

from ...errors import Forked
from ...forks import Home, ModuleLock

PACKAGE = "lance_namespace_urllib3_client"

_loading = ModuleLock()


def _defer(spec: ModuleSpec) -> ModuleType:
    """The package of ``spec``. Its submodules can be imported; its own code runs when a name of it is first used."""
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
    its own import: lance-format/lance#9273). A table on disk or in a bucket never calls them. This function
    replaces the package by one that runs the original code on first use, so an application that uses it still can. A
    package that is imported already is not replaced.
    """
    if PACKAGE not in sys.modules and (spec := find_spec(PACKAGE)) is not None:
        sys.modules[PACKAGE] = _defer(spec)


class Use:
    """The process that uses LanceDB. Its children must not, and can end."""

    def __init__(self) -> None:
        self._home = Home("LanceDB", self)
        # What lancedb does when the interpreter ends waits for the threads of its runtime. A child that has not used
        # lancedb itself has none of them: it would hang. lancedb does not say what it registered.
        for found in gc.get_objects():
            if type(found) is BuiltinFunctionType and found.__name__ == "shutdown_runtime":
                os.register_at_fork(after_in_child=functools.partial(atexit.unregister, found))

    def check(self) -> None:
        """Raise Forked in a child.

        Under load, one in some twenty children that used LanceDB after their parent had died of a segmentation fault;
        lancedb calls its support of forks experimental.
        """
        if self._home.left:
            raise Forked(
                "LanceDB was used in this process's parent before the fork, and may crash the child; open no pipeline "
                "before the fork, or start the process with spawn or forkserver"
            )


@functools.cache
def begin_use() -> Use:
    """Call it when lancedb is imported, and ``check`` what it returns."""
    return Use()


class Finite(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """Vectors that are known to be finite, as lancedb receives them.

    lancedb searches every list of floats for NaN, and builds an int64 per float for it: 7 % of a merge. The decoders
    have checked live events and snapshot blocks already, and EventBatch promises finite vectors. lancedb does not
    search an extension type; it casts it to the type of the table's column, without a copy.
    """

    def __init__(self, vectors: pa.DataType) -> None:
        super().__init__(vectors, "vecferry.finite")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, vectors: pa.DataType, serialized: bytes) -> Finite:
        return cls(vectors)


def below_source(name: str, otherwise: int) -> str:
    """SQL of a merge: the target's ``name``, or ``otherwise`` if that is null, is below the source's.

    Written without coalesce, because Lance does not find the target's columns inside a function call.
    """
    target, source = f"target.{name}", f"source.{name}"
    return f"{target} < {source} OR ({target} IS NULL AND {otherwise} < {source})"


def execute(merge: Any, rows: pa.Table) -> Any:
    """Run ``merge`` with ``rows``; returns Lance's MergeResult.

    ``use_index``: through an index that the application has on its id a merge panics, or silently updates nothing
    (lancedb/lancedb#3515, lance-format/lance#7596). ``on_bad_vectors``: lancedb takes a null vector for a bad one.
    """
    return merge.use_index(False).execute(rows, on_bad_vectors="null")


def is_absent(uri: str) -> bool:
    """Whether no database exists at a local ``uri``. Connecting to find out would create its directory."""
    return "://" not in uri and not Path(uri).exists()


def is_missing_table(error: ValueError) -> bool:
    """Whether ``error`` says that there is no such table: lancedb has no exception of its own for that."""
    return "was not found" in str(error)


def is_timeout(error: Exception) -> bool:
    """Whether ``error`` says that a search took too long: lancedb raises a RuntimeError for that."""
    return "timeout" in str(error).lower() or isinstance(error, TimeoutError)
