"""Fixtures that every test may ask for: the servers, and the rule that a missing one is a failure."""

from __future__ import annotations

import pytest

from vecferry.local.kafka import start_kafka
from vecferry.local.postgres import start_postgres


@pytest.fixture(scope="session")
def kafka_bootstrap() -> str:
    """``host:port`` of a running Kafka."""
    return start_kafka().bootstrap


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of a running PostgreSQL with pgvector; its user may create databases."""
    return start_postgres().url
