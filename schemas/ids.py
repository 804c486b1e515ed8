"""Ids as applications give them. Pure."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from .collection import IdType

Id = str | int | UUID


def id_text(id_: object, id_type: IdType) -> str | None:
    """``id_`` as text: a number where ids are bigint, a UUID where they are uuid; None for anything else."""
    if isinstance(id_, str):
        return str.__str__(id_)
    if id_type == "bigint" and isinstance(id_, (int, np.integer)) and not isinstance(id_, bool):
        return str(int(id_))
    return str(id_) if id_type == "uuid" and isinstance(id_, UUID) else None
