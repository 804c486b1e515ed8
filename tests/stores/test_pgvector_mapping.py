"""Names and ids: what PostgreSQL gives back unchanged, and what it does not; arrays as it reads them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from vecferry.errors import ConfigError, Rejected
from vecferry.schemas.collection import IdType
from vecferry.stores.pgvector.mapping import check_ids, companion, is_canonical, table_parts
from vecferry.stores.pgvector.wire.arrays import text_array
from vecferry.stores.pgvector.wire.vectors import vector_array


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("products", ("products",)),
        ("shop.products", ("shop", "products")),
        ('"my.schema"."a ""b"""', ("my.schema", 'a "b"')),
        ('shop."Order"', ("shop", "Order")),
        ("Möbel 100%", ("Möbel 100%",)),
    ],
)
def test_table_parts(table: str, parts: tuple[str, ...]) -> None:
    assert table_parts(table) == parts


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", "a.b.c", '"a', '"a"b', '""'])
def test_names_that_are_none(table: str) -> None:
    with pytest.raises(ConfigError):
        table_parts(table)


def test_companions_fit_and_differ() -> None:
    assert companion("products", "deleted") == "products_vecferry_deleted"
    long = ["x" * 62 + "a", "x" * 62 + "b", "é" * 31]
    names = {companion(table, suffix) for table in long for suffix in ("deleted", "partitions", "snapshots", "hnsw")}
    assert len(names) == 12
    assert all(len(name.encode()) <= 63 for name in names)


@pytest.mark.parametrize(
    ("id_type", "id_", "canonical"),
    [
        ("text", "", True),
        ("text", "a\0b", False),
        ("text", "\ud800", False),
        ("bigint", "0", True),
        ("bigint", "-9223372036854775808", True),
        ("bigint", "9223372036854775807", True),
        ("bigint", "9223372036854775808", False),
        ("bigint", "-0", False),
        ("bigint", "007", False),
        ("bigint", "+1", False),
        ("bigint", " 1", False),
        ("bigint", "1\n", False),
        ("bigint", "1_000", False),
        ("bigint", "\u0661", False),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", False),
        ("uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11", False),
        ("uuid", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", False),
        ("uuid", "no", False),
    ],
)
def test_canonical_ids(id_type: IdType, id_: str, canonical: bool) -> None:
    assert is_canonical(id_, id_type) is canonical


def test_an_id_longer_than_its_column_is_rejected() -> None:
    check_ids(["ab "], "text", 3)
    with pytest.raises(Rejected, match="3 characters"):
        check_ids(["ab  "], "text", 3)


@pytest.mark.parametrize("kind", [str, bytes])
def test_texts_are_packed_in_the_order_asked_for(kind: type) -> None:
    """The format of ``array_send``: dimensions, nulls, element type, length, lower bound; each element by its size."""
    values = ["b", "", "é" * 200]
    head = struct.pack(">iiIii", 1, 0, 25, 3, 1)
    elements = b"".join(struct.pack(">i", len(text.encode())) + text.encode() for text in ("é" * 200, "b", ""))
    given = values if kind is str else [text.encode() for text in values]
    assert text_array(given, np.array([2, 0, 1])) == head + elements
    assert text_array([], np.array([], np.intp)) == struct.pack(">iiI", 0, 0, 25)


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_vectors_are_packed_in_the_order_asked_for(rows: int) -> None:
    vectors = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    order = np.random.default_rng(1).permutation(rows)
    head = struct.pack(">iiIii", 1, 0, 4711, rows, 1) if rows else struct.pack(">iiI", 0, 0, 4711)
    elements = b"".join(struct.pack(">ihh3f", 16, 3, 0, *vectors[row]) for row in order)
    assert bytes(vector_array(vectors, order, 4711)) == head + elements
