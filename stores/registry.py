"""Every store that vecferry can write to: one line each. Adapters are imported only when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from ..errors import ConfigError
from ..schemas.collection import Collection, Placement
from .base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``options``: the keys of ``[stores.NAME]`` beside ``kind``; ``extra``: what pip installs for it."""

    module: str
    options: tuple[str, ...]
    extra: str


KINDS: Mapping[str, Kind] = {
    "pgvector": Kind(module=".pgvector", options=("url",), extra="pgvector"),
    "lancedb": Kind(module=".lancedb", options=("uri",), extra="lancedb"),
}


def open_store(kind: str, options: Mapping[str, str], collection: Collection, placement: Placement) -> Store:
    """Open ``collection`` as it lies in a store; ``options`` are the connection's, secrets already resolved.

    Connects lazily: an absent server shows as Unavailable from the first method that needs it. Every adapter has
    ``open(options, collection, placement) -> Store``. Raises ConfigError when the client library is not installed.
    """
    entry = KINDS[kind]
    try:
        module = import_module(entry.module, __package__)
    except ModuleNotFoundError as error:
        raise ConfigError(f"store kind {kind!r} needs {error.name}; pip install 'vecferry[{entry.extra}]'") from error
    return cast(Store, module.open(options, collection, placement))
