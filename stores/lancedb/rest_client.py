"""``import lancedb`` without the clients of its REST service, which a table on disk or in a bucket never calls.

lancedb 0.40 imports the models of ``lance_namespace_urllib3_client``, and with them the whole package: validators of
some hundred operations, built at import, are nearly half of the time that ``import lancedb`` takes. That would be a
second of computing in every command and every worker. Importing this module, before lancedb, puts in the package's
place one that loads the rest when somebody asks for it: nothing is taken away from an application that uses it.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType

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


if PACKAGE not in sys.modules and (_spec := find_spec(PACKAGE)) is not None:
    sys.modules[PACKAGE] = _defer(_spec)
