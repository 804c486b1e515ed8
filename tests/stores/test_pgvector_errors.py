"""Every class of SQLSTATE that the driver knows has a decided meaning."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from vecferry.errors import Fatal, Overloaded, Rejected, StoreError, Transient
from vecferry.stores.pgvector.errors import CLASSES, EXACT, translate, verdict

KNOWN = {
    value.sqlstate
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, psycopg.Error) and value.sqlstate is not None
}


def test_every_class_of_the_driver_is_in_the_table() -> None:
    assert len(KNOWN) > 200
    assert {sqlstate[:2] for sqlstate in KNOWN} <= set(CLASSES)


def test_every_exact_entry_is_a_known_state_and_differs_from_its_class() -> None:
    assert set(EXACT) <= KNOWN | {"57P05", "25P04"}  # newer than some drivers
    assert not [sqlstate for sqlstate, kind in EXACT.items() if CLASSES[sqlstate[:2]] is kind]


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        (None, Transient),
        ("08006", Transient),
        ("40001", Transient),
        ("40P01", Transient),
        ("55P03", Transient),
        ("57P01", Transient),
        ("57P02", Transient),
        ("57P03", Transient),
        ("57014", Transient),
        ("53300", Transient),
        ("53100", Overloaded),
        ("53200", Overloaded),
        ("22003", Rejected),
        ("22P02", Rejected),
        ("23505", Rejected),
        ("54000", Rejected),
        ("42P01", Fatal),
        ("42501", Fatal),
        ("XX001", Fatal),
        ("ZZ999", Fatal),
    ],
)
def test_verdicts(sqlstate: str | None, kind: type[StoreError]) -> None:
    assert verdict(sqlstate) is kind


def test_translation_keeps_the_message_and_asks_for_a_pause() -> None:
    error = translate(errors.lookup("53100")("disk full"))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s > 0
    assert "disk full" in str(error)
    assert isinstance(translate(psycopg.OperationalError("server closed the connection")), Transient)
    assert isinstance(translate(psycopg.ProgrammingError("the query has 0 placeholders")), Fatal)


@pytest.mark.server
def test_the_reason_of_a_refused_record_shows_nothing_of_it(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE shown (id text, title text NOT NULL)")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("INSERT INTO shown VALUES ('secret', NULL)")
    assert "secret" in str(refused.value)
    told = translate(refused.value)
    assert isinstance(told, Rejected)
    assert str(told).startswith('PostgreSQL 23502: null value in column "title"')
    assert "secret" not in str(told)


@pytest.mark.server
def test_an_error_ends_with_a_sentence_and_not_with_the_statement(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection, pytest.raises(psycopg.Error) as failed:
        connection.execute("SELECT coalesce(t.vecferry_position, 1) FROM pg_class t")
    assert "LINE 1: SELECT" in str(failed.value)
    assert str(translate(failed.value)) == "PostgreSQL 42703: column t.vecferry_position does not exist"
