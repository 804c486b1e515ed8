"""What a connection to PostgreSQL is opened with: ours where the url is silent."""

from __future__ import annotations

import psycopg
import pytest
from vecferry.errors import Unavailable
from vecferry.stores.pgvector.connection import Session


def opened_with(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The connection string that libpq would get."""
    seen: dict[str, str] = {}

    def connect(**given: object) -> None:
        seen.update({name: str(value) for name, value in given.items()})
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(Unavailable), Session(url).use():
        raise AssertionError("connected")
    return seen


def test_a_host_that_falls_silent_is_given_up_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    given = opened_with("postgresql://host/shop", monkeypatch)
    idle, interval, count = (int(given[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    assert (idle, interval, count) == (10, 5, 3)
    assert idle + interval * count < 60
    assert given["tcp_user_timeout"] == "20000"
    assert given["connect_timeout"] == "10"


def test_the_url_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    given = opened_with("postgresql://host/shop?keepalives_idle=60&connect_timeout=3", monkeypatch)
    assert (given["keepalives_idle"], given["connect_timeout"], given["keepalives_count"]) == ("60", "3", "3")
