"""What names, ids and metrics of vecferry are in PostgreSQL. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ...errors import ConfigError, Rejected
from ...schemas.collection import IdType, Metric

POSITION = "vecferry_position"
COMPANIONS = ("deleted", "partitions", "snapshots")
MAX_IDENTIFIER_BYTES = 63  # PostgreSQL cuts longer names without a word
MAX_INDEX_DIMENSION = 2000  # pgvector: a vector column of more dimensions cannot have an HNSW or IVFFlat index

_NAME_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_BIGINT = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LONGEST_SUFFIX = len("_vecferry_partitions")


def table_parts(table: str) -> tuple[str, ...]:
    """``products`` → 1 part, ``public.products`` → 2; a part in double quotes may hold dots. Raises ConfigError."""
    parts, end = [], 0
    while True:
        match = _NAME_PART.match(table, end)
        if match is None:
            raise ConfigError(f'table {table!r} is not a name; write products, public.products or "my.schema".products')
        quoted, plain = match.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        if match.end() == len(table):
            break
        if table[match.end()] != ".":
            raise ConfigError(f"table {table!r} has text after a quoted name")
        end = match.end() + 1
    if len(parts) > 2:
        raise ConfigError(f"table {table!r} has {len(parts)} parts; PostgreSQL knows schema.table")
    return tuple(parts)


def companion(table: str, suffix: str) -> str:
    """``<table>_vecferry_<suffix>``; a long table name is cut and told apart by a hash, so that all suffixes fit."""
    stem = table
    if len(table.encode()) > MAX_IDENTIFIER_BYTES - _LONGEST_SUFFIX:
        digest = hashlib.sha256(table.encode()).hexdigest()[:8]
        stem = f"{table.encode()[: MAX_IDENTIFIER_BYTES - _LONGEST_SUFFIX - 9].decode(errors='ignore')}_{digest}"
    return f"{stem}_vecferry_{suffix}"


def is_canonical(id_: str, id_type: IdType) -> bool:
    """Whether PostgreSQL gives ``id_`` back as the very same text: ``007`` is no bigint, ``A0EE…`` no uuid of ours."""
    match id_type:
        case "text":
            return _is_utf8_without_nul(id_)
        case "bigint":
            return _BIGINT.fullmatch(id_) is not None and -(2**63) <= int(id_) < 2**63
        case "uuid":
            try:
                return str(UUID(id_)) == id_
            except ValueError:
                return False


def _is_utf8_without_nul(id_: str) -> bool:
    try:
        return b"\0" not in id_.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False


def check_ids(ids: Sequence[str], id_type: IdType, max_chars: int | None) -> None:
    """Raises Rejected for an id that the column cannot give back as the same text."""
    # Canonical texts need no look at each of them: all can be encoded, and none holds a NUL.
    if id_type != "text" or not _is_utf8_without_nul("".join(ids)):
        for id_ in ids:
            if not is_canonical(id_, id_type):
                raise Rejected(f"id {id_!r} is not a canonical {id_type} of PostgreSQL")
    # A longer one would fail anyway, except that PostgreSQL silently cuts trailing spaces to make it fit.
    if max_chars is not None and ids and len(longest := max(ids, key=len)) > max_chars:
        raise Rejected(f"id {longest!r} is longer than the id column, which holds {max_chars} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSql:
    """``distance`` operator, ``opclass`` of its index, and ``score`` as an expression of the distance {0}."""

    distance: str
    opclass: str
    score: str


METRICS: dict[Metric, MetricSql] = {
    "cosine": MetricSql(distance="<=>", opclass="vector_cosine_ops", score="1 - ({})"),
    "dot": MetricSql(distance="<#>", opclass="vector_ip_ops", score="- ({})"),  # <#> is minus the inner product
    "l2": MetricSql(distance="<->", opclass="vector_l2_ops", score="- ({})"),
}
