"""What ``get`` answers with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schemas.batch import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One live row: ``vector`` is float32 [d], ``position`` the place of its last write in the log."""

    id: str
    vector: NDArray[np.float32]
    metadata: dict[str, object]
    position: int


def rows_in_order(ids: Sequence[str], found: Rows) -> list[Row]:
    """The live rows of ``found`` in the order of ``ids``; absent and deleted ids are left out."""
    place = {id_: row for row, id_ in enumerate(found.ids) if not found.deleted[row]}
    return [
        Row(
            id=id_,
            vector=found.vectors[place[id_]],
            metadata=json.loads(found.metadata[place[id_]]),
            position=int(found.positions[place[id_]]),
        )
        for id_ in ids
        if id_ in place
    ]
