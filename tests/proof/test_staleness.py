"""What is called stale, and what a regression."""

from __future__ import annotations

import pytest
from vecferry.proof.ledger import BASE, DELETE, UPSERT, Entry
from vecferry.proof.poller import Regressions
from vecferry.proof.staleness import UNKNOWN, Absence, Memory, Sighting, foreign, unexplained


def entry(id_: str, op: str, position: int, content: str | None = None, *, sent_s: float = 0.0) -> Entry:
    return Entry(id=id_, op=op, partition=0, position=position, content=content, sent_s=sent_s, acknowledged_s=sent_s)


@pytest.fixture
def memory() -> Memory:
    return Memory({"a"})


def test_a_row_is_stale_below_the_token(memory: Memory) -> None:
    assert not memory.present("a", 10, wanted=10)
    assert Memory({"a"}).present("a", 9, wanted=10)
    assert Memory({"a"}).present("a", BASE, wanted=10)


def test_a_row_is_stale_below_what_the_session_saw(memory: Memory) -> None:
    assert not memory.present("a", 10)
    assert not memory.present("a", 10)
    assert memory.present("a", 9)
    assert memory.present("a", BASE)
    assert not memory.present("b", 3)
    assert not Memory({"a"}).present("a", 9)  # another session may be behind


def test_after_an_absence_only_a_newer_row_is_fresh(memory: Memory) -> None:
    memory.present("a", 10)
    memory.absent("a", 1.0)
    assert memory.present("a", 10)
    assert not memory.present("a", 12)
    assert not memory.present("a", 12)


def test_a_row_of_the_catalogue_may_not_be_absent_without_a_delete(memory: Memory) -> None:
    absence = memory.absent("a", 1.0)
    assert absence == Absence(id="a", floor=BASE, read_s=1.0)
    assert unexplained([absence], []) == [absence]
    assert memory.present("a", BASE)  # it was gone, and is back as it was


def test_an_id_that_was_never_seen_may_be_absent(memory: Memory) -> None:
    assert memory.absent("new", 1.0) is None
    assert memory.absent("new", 1.0, wanted=UNKNOWN) is None


@pytest.mark.parametrize(
    ("delete", "explains"),
    [
        pytest.param(entry("a", DELETE, 20), True, id="the delete that was asked for"),
        pytest.param(entry("a", DELETE, 21), True, id="a later delete"),
        pytest.param(entry("a", DELETE, 19), False, id="an earlier delete"),
        pytest.param(entry("b", DELETE, 21), False, id="a delete of another id"),
        pytest.param(entry("a", UPSERT, 21, "x"), False, id="no delete at all"),
        pytest.param(entry("a", DELETE, 21, sent_s=6.0), False, id="a delete after the read had ended"),
    ],
)
def test_only_a_delete_explains_an_absence(memory: Memory, delete: Entry, explains: bool) -> None:
    absence = memory.absent("a", 5.0, wanted=20)
    assert absence is not None
    assert unexplained([absence], [delete]) == ([] if explains else [absence])


def test_content_must_be_what_was_written_at_its_position() -> None:
    entries = [entry("a", UPSERT, 10, "x")]
    right = [Sighting(id="a", position=10, content="x"), Sighting(id="a", position=BASE, content="a0")]
    wrong = [
        Sighting(id="a", position=10, content="y"),
        Sighting(id="a", position=11, content="x"),
        Sighting(id="b", position=BASE, content="b0"),
    ]
    assert foreign([*right, *wrong], {"a": "a0"}, entries) == wrong


def test_a_stored_position_must_not_go_down_or_be_forgotten() -> None:
    seen = Regressions()
    ids = ["a", "b"]
    seen.take("new", ids, {"a": BASE})
    seen.take("new", ids, {"a": 10, "b": 5})
    seen.take("old", ids, {"a": 3})  # another store is another matter
    assert seen.count == 0
    seen.take("new", ids, {"a": 9, "b": 5})
    assert seen.count == 1
    seen.take("new", ids, {"a": 9})
    assert seen.count == 2
    assert "a went from position 10 to position 9" in seen.examples[0]
    assert "b went from position 5 to nothing" in seen.examples[1]
