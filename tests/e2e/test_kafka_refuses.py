"""A Kafka that answers and refuses: a wrong password, a missing right, another login. Each by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import vecferry
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from log_world import DIMENSION, NAME, PARTITIONS, config_for
from vecferry.config import Config
from vecferry.errors import NotDelivered, Refused, Unavailable
from vecferry.local import kafka as local_kafka
from vecferry.local.kafka import start_kafka, stop_kafka
from vecferry.local.process import pick_port
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.topics import LIVE_TOPIC
from vecferry.migration.doctor import examine
from vecferry.schemas.topics import events_topic
from waiting import wait_until

pytestmark = pytest.mark.server

NAMED = f"sasl-{os.getpid()}"
NAMESPACE = "guarded"
EVENTS = events_topic(NAMESPACE, NAME)


@dataclass(frozen=True, slots=True)
class Guarded:
    """Where anybody may do anything, and where the user "app" logs in, who may do nothing."""

    open: str
    guarded: str


@pytest.fixture(scope="module")
def broker() -> Iterator[Guarded]:
    port = pick_port()
    plain = local_kafka._properties

    def guarded(**ports: Any) -> str:
        text = plain(**ports)
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_app="right";'
        more = {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        lines = []
        for line in text.splitlines():
            key = line.partition("=")[0]
            if key in ("listeners", "advertised.listeners"):
                line += f",SASL_PLAINTEXT://127.0.0.1:{port}"
            if key == "listener.security.protocol.map":
                line += ",SASL_PLAINTEXT:SASL_PLAINTEXT"
            lines.append(line)
        return "\n".join([*lines, *(f"{key}={value}" for key, value in more.items()), ""])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_kafka, "_properties", guarded)
        found = start_kafka(NAMED)
    made = Guarded(found.bootstrap, f"127.0.0.1:{port}")
    log = KafkaLog(config_for(made.open, NAMESPACE).kafka)
    log.admin.create_topic(EVENTS, PARTITIONS, LIVE_TOPIC)
    log.close()
    yield made
    stop_kafka(NAMED)


def login(broker: Guarded, password: str) -> Config:
    client = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "app",
        "sasl.password": password,
    }
    return config_for(broker.guarded, NAMESPACE, client=client)


def allow(broker: Guarded, *operations: AclOperation) -> None:
    client = AdminClient({"bootstrap.servers": broker.open})
    rules = [
        AclBinding(
            ResourceType.TOPIC, EVENTS, ResourcePatternType.LITERAL, "User:app", "*", operation, AclPermissionType.ALLOW
        )
        for operation in operations
    ]
    for future in client.create_acls(rules).values():
        future.result()


def kafka_line(config: Config) -> str:
    log = KafkaLog(config.kafka)
    try:
        return next(check.line() for check in examine(config, NAME, log) if check.name == "kafka")
    finally:
        log.close()


def test_a_wrong_password_is_said_by_doctor_and_by_a_publisher(broker: Guarded) -> None:
    config = login(broker, "wrong")
    assert "refuses the login" in kafka_line(config)
    with vecferry.open(config) as pipeline, pytest.raises(Unavailable, match=r"correct sasl\.username and sasl"):
        pipeline.publisher(NAME)


def test_another_mechanism_than_the_brokers_is_said(broker: Guarded) -> None:
    client = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "SCRAM-SHA-256"}
    user = {"sasl.username": "app", "sasl.password": "right"}
    line = kafka_line(config_for(broker.guarded, NAMESPACE, client={**client, **user}))
    assert "[kafka.client]" in line, line


def test_a_right_that_is_missing_is_named(broker: Guarded) -> None:
    config = login(broker, "right")
    with vecferry.open(config) as pipeline, pytest.raises(Refused, match="or allow this user DESCRIBE on it"):
        pipeline.publisher(NAME)
    allow(broker, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)

    def seen() -> bool:
        log = KafkaLog(config.kafka)
        try:
            return EVENTS in log.admin.topics([EVENTS])
        finally:
            log.close()

    wait_until(seen, what="the right to be there")
    with (
        vecferry.open(config) as pipeline,
        pipeline.publisher(NAME) as publisher,
        pytest.raises((NotDelivered, Refused), match=r"AUTHORIZATION_FAILED.*allow it "),
    ):
        publisher.upsert("a", np.ones(DIMENSION, np.float32)).result(60)
