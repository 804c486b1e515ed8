"""vecferry: move a live vector database to another one.

``vecferry.open("vecferry.toml")`` is where an application begins. Importing the package imports no client of Kafka and
none of a store; each comes with the first call that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vecferry.errors import (
    ConfigError,
    DeadLettered,
    DecodeError,
    Forked,
    Inconclusive,
    InvalidRecord,
    NotDelivered,
    Refused,
    StoreError,
    Unavailable,
    VecferryError,
)

if TYPE_CHECKING:
    from vecferry.pipeline import Pipeline, open
    from vecferry.producers.publisher import Publisher
    from vecferry.reads.async_reader import AsyncReader
    from vecferry.reads.reader import Reader
    from vecferry.reads.results import Row
    from vecferry.reads.session import Session
    from vecferry.schemas.batch import Hit
    from vecferry.schemas.tokens import WriteToken

    __version__: str

_HOMES = {
    "AsyncReader": "reads.async_reader",
    "Hit": "schemas.batch",
    "Pipeline": "pipeline",
    "Publisher": "producers.publisher",
    "Reader": "reads.reader",
    "Row": "reads.results",
    "Session": "reads.session",
    "WriteToken": "schemas.tokens",
    "open": "pipeline",
}

__all__ = [
    "AsyncReader",
    "ConfigError",
    "DeadLettered",
    "DecodeError",
    "Forked",
    "Hit",
    "Inconclusive",
    "InvalidRecord",
    "NotDelivered",
    "Pipeline",
    "Publisher",
    "Reader",
    "Refused",
    "Row",
    "Session",
    "StoreError",
    "Unavailable",
    "VecferryError",
    "WriteToken",
    "__version__",
    "open",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("vecferry")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"vecferry.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
