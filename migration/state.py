"""Records of the control and progress topics as typed values."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import Refused
from ..log.kafka.view import CompactedView

R = TypeVar("R", bound=BaseModel)


def read(view: CompactedView, key: str, record: type[R]) -> R | None:
    """The record under ``key``, or None; raises Refused when it is not one."""
    raw = view.get(key)
    return None if raw is None else parse(key, raw, record)


def read_all(view: CompactedView, prefix: str, record: type[R]) -> dict[str, R]:
    """The records under every key that starts with ``prefix``, by the rest of the key; raises Refused."""
    return {key.removeprefix(prefix): parse(key, raw, record) for key, raw in view.items(prefix).items()}


def parse(key: str, raw: bytes, record: type[R]) -> R:
    """The record in ``raw``; raises Refused naming ``key``."""
    try:
        return record.model_validate_json(raw)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, entry["loc"])) or "the document" for entry in error.errors())
        raise Refused(
            f"record {key!r} cannot be read ({fields}); use the version of vecferry that wrote it, or restore the topic"
        ) from error
