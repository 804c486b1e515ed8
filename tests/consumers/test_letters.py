"""What a worker's log says of dead letters: each one while they are few, their number once they are many."""

from __future__ import annotations

import logging

import pytest
from step_clock import StepClock
from vecferry.consumers.letters import LINES, WINDOW_S, Letter, LetterLog, describe
from vecferry.schemas.dead_letters import Origin


def letter(offset: int, key: bytes | None = b"sku-1", reason: str = "no vector", row: int = 0) -> Letter:
    origin = Origin(store="new", topic="shop.products.events", partition=2, offset=offset, row=row)
    return Letter(origin=origin, reason=reason, key=key, value=b"secret payload", headers=(), position=offset)


def test_a_line_says_where_who_and_why_and_shows_no_payload() -> None:
    shown = describe("products", letter(7, reason="violates\n check  constraint"))
    assert shown == (
        "products: dead letter, new cannot take shop.products.events [2] offset 7, id sku-1: violates check "
        "constraint; `vecferry dlq show products new/shop.products.events/2/7/0` says what to publish instead"
    )
    assert "offset 7 row 3, no id: " in describe("products", letter(7, None, row=3))
    assert "\\xff" in describe("products", letter(7, b"\xff"))
    assert len(describe("products", letter(7, b"k" * 10_000, "r" * 10_000))) < 600


def test_few_letters_are_listed_and_many_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "vecferry.worker")
    clock = StepClock(100.0)
    log = LetterLog("products", clock)
    log.note(())
    assert caplog.messages == []
    log.note([letter(offset) for offset in range(LINES - 1)])
    assert len(caplog.messages) == LINES - 1
    log.note([letter(offset) for offset in range(5)])
    clock.now_s += WINDOW_S / 2
    log.note([letter(offset) for offset in range(100)])
    assert len(caplog.messages) == LINES + 1
    assert caplog.messages[-1] == (
        "products: more dead letters follow, not listed for 10 s; `vecferry dlq list products` shows all"
    )
    clock.now_s += WINDOW_S
    caplog.clear()
    log.note([letter(1)])
    assert caplog.messages == [
        "products: 104 dead letters were not listed; `vecferry dlq list products` shows all",
        describe("products", letter(1)),
    ]
    caplog.clear()
    clock.now_s += WINDOW_S
    log.note([letter(2)])
    assert caplog.messages == [describe("products", letter(2))]
