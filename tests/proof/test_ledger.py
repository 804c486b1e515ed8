"""The checker must be able to fail: its fold, and its verdict on what a store holds."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from vecferry.proof.ledger import BASE, DELETE, UPSERT, Entry, State, Tail, compare, digest, fold, read

CATALOGUE = {"a": "a0", "b": "b0", "c": "c0"}


def entry(id_: str, position: int, content: str | None, *, at_s: float = 0.0) -> Entry:
    op = DELETE if content is None else UPSERT
    return Entry(id=id_, op=op, partition=0, position=position, content=content, sent_s=at_s, acknowledged_s=at_s)


ENTRIES = [entry("a", 10, "a1"), entry("a", 30, "a3"), entry("b", 20, None), entry("n", 40, "n4")]
EXPECTED = {
    "a": State(position=30, content="a3"),
    "b": State(position=20, content=None),
    "c": State(position=BASE, content="c0"),
    "n": State(position=40, content="n4"),
}


def test_the_fold_does_not_depend_on_the_order_of_the_files() -> None:
    shuffled = list(ENTRIES)
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)
        assert fold(CATALOGUE, shuffled) == EXPECTED


def test_equal_stores_have_no_fault() -> None:
    found = compare("new", EXPECTED, EXPECTED)
    assert (found.lost, found.resurrected, found.examples) == (0, 0, [])


@pytest.mark.parametrize("forgotten", [None, State(position=5, content=None), State(position=25, content=None)])
def test_a_delete_may_be_forgotten_but_not_undone(forgotten: State | None) -> None:
    held = {id_: state for id_, state in EXPECTED.items() if id_ != "b"}
    if forgotten is not None:
        held["b"] = forgotten
    assert compare("new", EXPECTED, held).resurrected == 0


@pytest.mark.parametrize(
    ("id_", "held", "lost", "resurrected"),
    [
        pytest.param("a", None, 1, 0, id="missing"),
        pytest.param("a", State(position=10, content="a1"), 1, 0, id="older"),
        pytest.param("a", State(position=30, content="a1"), 1, 0, id="other content"),
        pytest.param("a", State(position=31, content="a3"), 1, 0, id="a position that nobody was given"),
        pytest.param("a", State(position=30, content=None), 1, 0, id="deleted"),
        pytest.param("c", None, 1, 0, id="a row of the catalogue that was never copied"),
        pytest.param("b", State(position=BASE, content="b0"), 0, 1, id="a deleted row that came back"),
        pytest.param("b", State(position=20, content="b0"), 0, 1, id="a delete that was not carried out"),
        pytest.param("x", State(position=7, content="x"), 0, 1, id="a row that nobody wrote"),
    ],
)
def test_every_fault_is_counted_and_named(id_: str, held: State | None, lost: int, resurrected: int) -> None:
    store = {key: state for key, state in EXPECTED.items() if key != id_}
    if held is not None:
        store[id_] = held
    found = compare("new", EXPECTED, store)
    assert (found.lost, found.resurrected) == (lost, resurrected)
    assert found.examples[0].startswith(f"new: {id_} ")


def test_content_is_every_bit_of_the_vector_and_every_key_that_is_not_null() -> None:
    vector = np.array([0.1, 0.2, 0.3], np.float32)
    same = digest(vector, {"section": "libs", "size": 1})
    assert digest(vector.copy(), {"size": 1, "section": "libs", "gone": None}) == same
    nearly = vector.copy()
    nearly[1] = np.nextafter(nearly[1], np.float32(1))
    assert digest(nearly, {"section": "libs", "size": 1}) != same
    assert digest(vector, {"section": "libs", "size": 2}) != same
    assert digest(vector, {"section": "libs"}) != same


def test_the_tail_hands_out_whole_lines_once(tmp_path: Path) -> None:
    tail, lines = Tail(tmp_path), [each.line() for each in ENTRIES]
    assert tail.new() == []
    path = tmp_path / "0.ledger"
    path.write_text(lines[0] + lines[1][:10])
    assert tail.new() == ENTRIES[:1]
    path.write_text("".join(lines[:2]))
    (tmp_path / "1.ledger").write_text("".join(lines[2:]))
    assert tail.new() == ENTRIES[1:]
    assert tail.new() == []
    assert read(tmp_path) == ENTRIES
