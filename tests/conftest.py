"""Fixtures that every test may ask for: the servers, and the rule that a missing one is a failure."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator

import pytest
from pace import (  # noqa: F401  hooks: found by their names
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
)
from services import provided
from vecferry.local.services import Addresses

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before a test imports lancedb: it saves more than a second of each worker. The one that hands out needs neither.
    import vecferry.stores.lancedb  # noqa: F401


@pytest.fixture(scope="session")
def server_addresses() -> Iterator[Addresses]:
    """Kafka and PostgreSQL, started when the first test asks; stopped by the last session that uses them."""
    with provided() as addresses:
        yield addresses


@pytest.fixture(scope="session")
def kafka_bootstrap(server_addresses: Addresses) -> str:
    """``host:port`` of a running Kafka."""
    return server_addresses.kafka


@pytest.fixture(scope="session")
def postgres_url(server_addresses: Addresses) -> str:
    """URL of a running PostgreSQL with pgvector; its user may create databases."""
    return server_addresses.postgres


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Take away the handlers that a command line has made: what they write to is closed with its test."""
    yield
    for handler in [found for found in logging.root.handlers if type(found) is logging.StreamHandler]:
        logging.root.removeHandler(handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skipped test, and one that is expected to fail, is a failure: nothing goes untested unseen."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a skip or an expected failure counts as a failure under CI"
        # Pytest would print a report that still carries this as an expected failure.
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI the same holds for a file that skips itself while it is collected."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: a skip counts as a failure under CI"
    return report
