"""Work-arounds for faults of psycopg, PostgreSQL and pgvector, each with a test that fails once the fault is mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ...errors import ConfigError
from ...references import local_path

SEARCH_ON = (
    "set_config('hnsw.iterative_scan', 'relaxed_order', true), "
    "set_config('ivfflat.iterative_scan', 'relaxed_order', true)"
)
"""Settings to select inside a transaction: the index continues its scan until enough rows have passed the filter.

By default an index returns ``ef_search`` candidates and does not replace those that the filter removes
(pgvector/pgvector#259). With these settings rows come only nearly sorted, so the caller sorts them. The scan still ends
at hnsw.max_scan_tuples, hnsw.scan_mem_multiplier or ivfflat.max_probes of the server, whose defaults are bounds too: so
the caller counts what came.
"""

_PATHS = frozenset({"host", "passfile", "sslcert", "sslcrl", "sslcrldir", "sslkey", "sslrootcert"})


def connection_parameters(url: str) -> Mapping[str, Any]:
    """The parts of ``url``, with paths in full. Raises ConfigError, whose message contains no secret of the URL.

    psycopg's own message quotes the part that it cannot parse, which may contain the password (psycopg 3.3).
    """
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError("the url of a pgvector store is not a PostgreSQL URL") from None
    try:
        return {key: local_path(str(value)) if key in _PATHS else value for key, value in found.items()}
    except ValueError as error:
        raise ConfigError(f"the url of a pgvector store: {error}") from None
