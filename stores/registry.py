"""Every store that vecferry can write to: one line each. Adapters are imported only when they are used.

The folder of a kind holds ``options.py`` (see ``stores/options.py``) and ``open(options, collection, placement)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError
from ..schemas.collection import Collection, Placement
from .base import Store

if TYPE_CHECKING:
    from .options import StoreOptions

# Kind -> its folder. The extra that pip installs for it has the name of the kind.
KINDS: Mapping[str, str] = {
    "pgvector": ".pgvector",
    "lancedb": ".lancedb",
}


def open_store(kind: str, options: StoreOptions, collection: Collection, placement: Placement) -> Store:
    """Open ``collection`` as it lies in a store; ``options``: of the model of ``kind``, references already resolved.

    Connects lazily: an absent server shows as Unavailable from the first method that needs it. Raises ConfigError when
    the client library is not installed, and for options that the client cannot read.
    """
    try:
        return cast(Store, import_module(KINDS[kind], __package__).open(options, collection, placement))
    except ModuleNotFoundError as error:
        raise ConfigError(f"store kind {kind!r} needs {error.name}; pip install 'vecferry[{kind}]'") from error
