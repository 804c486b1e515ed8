"""Fingerprints, released copies and the compatibility rule."""

from __future__ import annotations

import copy
import json
import re
from importlib.resources import files

import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from vecferry.errors import Refused
from vecferry.schemas.compatibility import unreadable
from vecferry.schemas.definitions import current, define, released, writers

NAMES = ["vector_event", "snapshot_block", "snapshot_marker"]

# A released copy is never edited: records of it are in topics. A release adds a line.
RELEASED = {
    "vector_event.v1.avsc": "08ee4b34deb211cd",
    "snapshot_block.v1.avsc": "5bcd914f9ebc909d",
    "snapshot_marker.v1.avsc": "2daa5598ffa35a34",
}


def crc_64_avro(data: bytes) -> bytes:
    """The specification's algorithm, written out: the oracle for the library that the package uses."""
    empty = 0xC15D213AA4D7A795
    result = empty
    for byte in data:
        result ^= byte
        for _ in range(8):
            result = (result >> 1) ^ (empty & -(result & 1))
    return result.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ('"null"', 0x63DD24E7CC258F8A),
        ('"boolean"', 0x9F42FC78A4D4F764),
        ('"int"', 0x7275D51A3F395C8F),
        ('"string"', 0x8F014872634503C7),
    ],
)
def test_fingerprints_are_those_of_the_avro_test_suite(schema: str, expected: int) -> None:
    assert define(json.loads(schema)).fingerprint == expected.to_bytes(8, "little") == crc_64_avro(schema.encode())


@pytest.mark.parametrize("name", NAMES)
def test_current_fingerprint_agrees_with_an_independent_implementation(name: str) -> None:
    source = json.loads(files("vecferry.schemas").joinpath(f"{name}.avsc").read_text(encoding="utf-8"))
    canonical = to_parsing_canonical_form(source)
    assert current(name).fingerprint == crc_64_avro(canonical.encode())
    assert current(name).fingerprint.hex() == fingerprint(canonical, "CRC-64-AVRO")


def test_released_copies_are_never_edited_nor_removed() -> None:
    found = {file: definition.fingerprint.hex() for name in NAMES for file, definition in released(name).items()}
    assert found == RELEASED


@pytest.mark.parametrize("name", NAMES)
def test_current_reads_every_release_and_every_release_reads_current(name: str) -> None:
    assert released(name)
    for old in released(name).values():
        assert unreadable(current(name).schema, old.schema) == []
        assert unreadable(old.schema, current(name).schema) == []


def test_the_vector_is_the_last_field() -> None:
    assert current("vector_event").schema["fields"][-1]["name"] == "vector"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s["fields"].pop(3), "occurred_at: the writer lacks it"),
        (lambda s: s["fields"].insert(0, {"name": "extra", "type": "int"}), None),
        (lambda s: s["fields"][0]["type"]["symbols"].pop(), "lacks symbol|is not"),
        (lambda s: s["fields"][4].update(type="int"), "'string' is not 'int'|'int' is not 'string'"),
        (lambda s: s["fields"][2]["type"].update(size=8), "sizes"),
        (lambda s: s["fields"][7]["type"].update(items="double"), "'double' is not 'float'"),
        (lambda s: s["fields"][6].update(type=["null", "int"]), "no branch"),
        (lambda s: s["fields"][1]["type"]["fields"].append({"name": "x", "type": "int"}), "space.x"),
        (lambda s: s.update(name="Other"), "is not named"),
    ],
)
def test_a_breaking_change_is_seen_in_one_direction_or_the_other(change, problem) -> None:  # type: ignore[no-untyped-def]
    released_schema = current("vector_event").schema
    changed = copy.deepcopy(released_schema)
    change(changed)
    found = unreadable(changed, released_schema) + unreadable(released_schema, changed)
    assert found
    if problem is not None:
        assert any(re.search(problem, line) for line in found), found


def test_a_new_field_with_a_default_is_compatible_both_ways() -> None:
    old = current("vector_event").schema
    new = copy.deepcopy(old)
    new["fields"].insert(7, {"name": "tenant", "type": ["null", "string"], "default": None})
    new["fields"][3]["type"] = "int"
    assert unreadable(old, new) == []
    assert unreadable(new, old) == ["occurred_at: 'long' is not 'int'"]


LIST = {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}
NOTHING = {"type": "record", "name": "N", "fields": [{"name": "a", "type": "null"}]}


@pytest.mark.parametrize(
    "schema",
    [
        LIST,
        {"type": "array", "items": LIST},
        {"type": "array", "items": "null"},
        {"type": "array", "items": NOTHING},
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "n", "type": NOTHING}, {"name": "a", "type": {"type": "array", "items": "N"}}],
        },
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
    ],
)
def test_schemas_that_a_few_bytes_could_blow_up_are_refused(schema: object) -> None:
    with pytest.raises(Refused, match=r"itself|no bytes"):
        define(schema)


def test_a_named_type_may_be_used_twice() -> None:
    fields = [{"name": "a", "type": {"type": "fixed", "name": "F", "size": 2}}, {"name": "b", "type": "F"}]
    assert define({"type": "record", "name": "R", "fields": fields}).named.keys() == {"R", "F"}


def test_an_extra_writer_that_cannot_be_read_is_refused_when_registered() -> None:
    schema = {"type": "record", "name": "vecferry.VectorEvent", "fields": [{"name": "id", "type": "string"}]}
    with pytest.raises(Refused, match="vector: the writer lacks it"):
        writers("vector_event", [schema])
