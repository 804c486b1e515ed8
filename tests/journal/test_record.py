"""Reading records: known ones, those of a later version, and bytes that are no record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vecferry.errors import Refused
from vecferry.journal.collection import EnrolledTopic
from vecferry.journal.guard import GuardedWriter
from vecferry.journal.kinds import CONTROL, kind_of
from vecferry.journal.record import Known, Record, Unknown, decode
from vecferry.journal.route import Route, between
from vecferry.journal.run import RunRecord

ROUTE = {"version": 1, "generation": 1, "old": "old", "new": "new", "percent": 5, "changed_unix_s": 0.5}
RUN = {
    "run": "r1",
    "source": "old",
    "targets": ["new"],
    "state": "copying",
    "epoch": 1,
    "partitions": 3,
    "chunks": 2,
    "chunk_rows": 10,
    "estimated_rows": 20,
    "generation": 1,
    "created_unix_s": 1.5,
    "rows": 0,
    "fences": [0, 1, 2],
    "skips": False,
    "skipped": 0,
}
# Numbers as far as every JSON reader keeps them.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=5))
def test_fields_that_this_version_does_not_know_are_carried_on(more: dict[str, Any]) -> None:
    fields = {**more, **RUN, "version": 1}
    found = decode("run/c/r1", encoded(fields), RunRecord)
    assert isinstance(found, Known)
    assert json.loads(found.record.encode()) == fields
    closed = found.record.model_copy(update={"state": "closed"})
    assert json.loads(closed.encode()) == {**fields, "state": "closed"}


@given(
    st.dictionaries(st.text(min_size=1), JSON, max_size=5),
    st.sampled_from([{"state": "paused"}, {"version": 2}, {"version": 9, "state": None}, {"fences": "by range"}]),
)
def test_a_record_that_this_version_does_not_understand_is_carried_on_byte_for_byte(
    more: dict[str, Any], later: dict[str, Any]
) -> None:
    raw = encoded({**RUN, **more, **later})
    found = decode("run/c/r1", raw, RunRecord)
    assert isinstance(found, Unknown)
    assert (found.key, found.encode()) == ("run/c/r1", raw)
    assert found.fields == json.loads(raw)


def test_a_record_without_a_version_is_of_the_first() -> None:
    found = decode("run/c/r1", encoded(RUN), RunRecord)
    assert isinstance(found, Known)
    assert found.record.version == 1


@pytest.mark.parametrize(
    ("changes", "version", "problem"),
    [
        ({"state": "paused"}, 1, "state 'paused'"),
        ({"version": 2}, 2, "version 2, this one knows 1"),
        ({"version": "next"}, None, "version 'next'"),
        ({"epoch": None, "state": "paused"}, 1, "state 'paused', epoch None"),
    ],
)
def test_what_is_not_known_is_named(changes: dict[str, Any], version: int | None, problem: str) -> None:
    found = decode("run/c/r1", encoded({**RUN, **changes}), RunRecord)
    assert isinstance(found, Unknown)
    assert (found.version, found.problem) == (version, problem)
    (line,) = found.refusal().problems
    assert line == (
        f"record 'run/c/r1' was written by a later version of vecferry ({problem}) and is left as it is; "
        "use that version for this"
    )


@pytest.mark.parametrize("raw", [b"", b"junk", b"\xff", b"[1]", b"null", b'"text"', b"7", b"[" * 100_000])
def test_bytes_that_are_no_record_are_refused(raw: bytes) -> None:
    with pytest.raises(
        Refused, match=r"^record 'run/c/r1' cannot be read .*; use the version .* or restore the topic$"
    ):
        decode("run/c/r1", raw, RunRecord)


def test_a_part_of_an_unknown_record_can_be_known() -> None:
    enrolled = {"epoch": 2, "partitions": 3, "dimension": 4, "metric": "hamming", "topic_id": "t", "stores": []}
    found = decode("collection/c", encoded({**enrolled, "version": 5}), CONTROL["collection"])
    assert isinstance(found, Unknown)
    part = found.part(EnrolledTopic)
    assert part is not None
    assert (part.epoch, part.partitions, part.topic_id) == (2, 3, "t")
    found = decode("collection/c", encoded({"epoch": "second", "version": 5}), CONTROL["collection"])
    assert isinstance(found, Unknown)
    assert found.part(EnrolledTopic) is None


def test_a_route_of_version_1_is_read_as_weights_with_whatever_else_it_holds() -> None:
    for fields in (ROUTE, {key: value for key, value in ROUTE.items() if key != "version"}):
        found = decode("route/c", encoded({**fields, "note": "kept"}), Route)
        assert isinstance(found, Known)
        written = json.loads(found.record.encode())
        assert written == {
            "version": 2,
            "generation": 1,
            "weights": {"old": 95, "new": 5},
            "changed_unix_s": 0.5,
            "note": "kept",
        }
        assert list(written["weights"]) == ["old", "new"]
        again = decode("route/c", found.record.encode(), Route)
        assert again == found


@pytest.mark.parametrize(
    "weights", [{}, {"old": 99}, {"old": 60, "new": 60}, {"old": 101, "new": -1}, {"old": 99.5, "new": 0.5}, None]
)
def test_weights_that_are_no_shares_of_all_keys_are_not_known(weights: object) -> None:
    fields = {"version": 2, "generation": 1, "weights": weights, "changed_unix_s": 0.5}
    assert isinstance(decode("route/c", encoded(fields), Route), Unknown)


def test_weights_keep_their_order() -> None:
    fields = {"version": 2, "generation": 1, "weights": {"b": 50, "c": 0, "a": 50}, "changed_unix_s": 0.5}
    found = decode("route/c", encoded(fields), Route)
    assert isinstance(found, Known)
    assert list(found.record.weights) == ["b", "c", "a"]


def test_every_kind_has_a_key_and_begins_with_version_1() -> None:
    assert {kind.NEWEST for kind in CONTROL.values() if kind is not Route} == {1}
    assert Route.NEWEST == 2
    assert kind_of("run/c/r1") is RunRecord
    assert kind_of("note") is None


class Control:
    """A table, and a writer to it."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def write(self, records: dict[str, Record]) -> None:
        self.values |= {key: record.encode() for key, record in records.items()}


@pytest.mark.parametrize("later", [{"version": 3}, {"percent": "half"}, {"percent": 101}])
def test_a_later_record_is_not_written_over_nor_anything_beside_it(later: dict[str, object]) -> None:
    unknown = encoded({**ROUTE, **later})
    control = Control({"route/a": unknown, "route/b": encoded(ROUTE)})
    writer = GuardedWriter(control, control)  # type: ignore[arg-type]
    route = Route.model_validate(ROUTE)
    with pytest.raises(Refused, match="'route/a' was written by a later version"):
        writer.write({"route/c": route, "route/a": route})
    assert control.values == {"route/a": unknown, "route/b": encoded(ROUTE)}
    moved = route.model_copy(update={"weights": between("old", "new", 6)})
    writer.write({"route/b": moved, "route/c": route})
    assert control.values == {"route/a": unknown, "route/b": moved.encode(), "route/c": route.encode()}
