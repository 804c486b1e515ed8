"""Work-arounds for faults of psycopg, PostgreSQL and pgvector, each with a test that fails once the fault is mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ...errors import ConfigError

SEARCH_ON = (
    "set_config('hnsw.iterative_scan', 'relaxed_order', true), "
    "set_config('ivfflat.iterative_scan', 'relaxed_order', true)"
)
"""What to select for one transaction: go on searching until a filter has left as many rows as were asked for.

By default an index gives ``ef_search`` candidates, and what a filter takes away of these is not made up for
(pgvector/pgvector#259). Rows then come nearly sorted: whoever searches sorts them again.
"""


def connection_parameters(url: str) -> Mapping[str, Any]:
    """The parts of ``url``. Raises ConfigError, which shows nothing of it.

    psycopg quotes what it cannot read in its message, and a password may be in that (psycopg 3.3).
    """
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError("the url of a pgvector store is not a PostgreSQL URL") from None
