"""What is written and read: seeded choices over the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalogue import Catalogue

ZIPF_EXPONENT = 0.9  # the k-th most popular id is chosen in proportion to 1 / k^0.9
DELETE_SHARE = 0.12
NEW_ID_SHARE = 0.04
RETURN_SHARE = 0.04  # upserts of ids that the same writer deleted a while ago
_NOISE = 0.02


class Popularity:
    """Zipf over the rows of a catalogue; which rows are popular depends on the seed, the same in every process."""

    def __init__(self, rows: int, seed: int) -> None:
        self.order: NDArray[np.intp] = np.random.default_rng(seed).permutation(rows)
        weights = np.arange(1, rows + 1, dtype=np.float64) ** -ZIPF_EXPONENT
        self._cumulative = np.cumsum(weights) / weights.sum()

    def pick(self, random: np.random.Generator) -> int:
        """A row."""
        place = int(np.searchsorted(self._cumulative, random.random()))
        return int(self.order[min(place, len(self.order) - 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write to make: an upsert of ``vector`` and ``metadata``, or a delete when there is no vector."""

    id: str
    vector: NDArray[np.float32] | None
    metadata: dict[str, Any]


class Writes:
    """The endless sequence of one writer's writes."""

    def __init__(self, catalogue: Catalogue, seed: int, writer: int) -> None:
        self._catalogue = catalogue
        self._popularity = Popularity(len(catalogue.ids), seed)
        self._random = np.random.default_rng([seed, writer])
        self._writer = writer
        self._number = 0
        self._deleted: list[tuple[str, int]] = []

    def next(self) -> Write:
        """The next write."""
        self._number += 1
        row = self._popularity.pick(self._random)
        chance = self._random.random()
        if chance < DELETE_SHARE:
            id_ = self._catalogue.ids[row]
            self._deleted.append((id_, row))
            return Write(id=id_, vector=None, metadata={})
        if chance < DELETE_SHARE + NEW_ID_SHARE:
            return self._upsert(f"new-{self._writer}-{self._number}", row)
        if chance < DELETE_SHARE + NEW_ID_SHARE + RETURN_SHARE and self._deleted:
            return self._upsert(*self._deleted.pop(int(self._random.integers(len(self._deleted)))))
        return self._upsert(self._catalogue.ids[row], row)

    def _upsert(self, id_: str, row: int) -> Write:
        noise = self._random.normal(0.0, _NOISE, self._catalogue.dimension).astype(np.float32)
        metadata = dict(self._catalogue.metadata[row])
        metadata["version"] = f"{metadata['version']}+w{self._writer}.{self._number}"
        metadata["installed_kib"] = int(self._random.integers(1, 1_000_000))
        return Write(id=id_, vector=self._catalogue.vectors[row] + noise, metadata=metadata)
