"""Errors of Kafka as sentences: every code has one, and silence is explained by what came before it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from step_clock import StepClock
from vecferry.config import KafkaSection
from vecferry.errors import ConfigError, Unavailable
from vecferry.kafka_contact import Contact, quieten
from vecferry.kafka_errors import _MEANINGS, MEANINGS, UNFORESEEN, meaning_of
from vecferry.log.kafka.errors import contact_of, refusal_of_record, unavailable
from vecferry.log.kafka.log import KafkaLog
from vecferry.log.port import TooLarge, TopicAbsent

CODES = {
    name: getattr(KafkaError, name)
    for name in dir(KafkaError)
    if name.isupper() and isinstance(getattr(KafkaError, name), int)
}


def section(address: str, **client: str) -> KafkaSection:
    return KafkaSection.model_validate({"bootstrap_servers": address, "client": client})


def test_every_error_of_the_client_has_a_sentence_with_a_remedy() -> None:
    assert len(CODES) > 150
    assert {name for name, code in CODES.items() if code not in MEANINGS} == set()
    for name, code in CODES.items():
        said = meaning_of(KafkaError(code)).said("here:9092", "why")
        assert said.startswith("Kafka at here:9092 "), name
        assert "(why); " in said, name


def test_no_error_has_two_sentences() -> None:
    named = [name for meaning in _MEANINGS for name in meaning.codes]
    assert sorted(named) == sorted(set(named))
    assert set(named) - set(CODES) <= {"REBOOTSTRAP_REQUIRED"}


def test_an_error_of_a_later_client_is_said_as_one() -> None:
    error = KafkaError(9_999, "Something new")
    assert meaning_of(error) is UNFORESEEN
    assert "Something new" in str(unavailable(section("later:9092"), error))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError.SASL_AUTHENTICATION_FAILED, "refuses the login (why); correct sasl.username and sasl.password"),
        (KafkaError._AUTHENTICATION, "refuses the login (why); correct sasl.username and sasl.password"),
        (KafkaError.UNSUPPORTED_SASL_MECHANISM, "correct security.protocol and sasl.mechanism"),
        (KafkaError._SSL, "renew the certificate"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "allow it READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on the topics"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "allow it READ on the groups"),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "on the cluster"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "on the transactional ids"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "has no such topic (why); run `vecferry enrol COLLECTION`"),
        (KafkaError._TRANSPORT, "does not answer (why); start it or correct kafka.bootstrap_servers"),
    ],
)
def test_what_people_can_mend_is_said_with_how(code: int, said: str) -> None:
    assert said in str(unavailable(section("mend:9092"), KafkaException(KafkaError(code, "why"))))


def test_a_topic_that_is_gone_and_a_record_that_is_too_large_are_errors_of_their_own() -> None:
    kafka = section("kinds:9092")
    assert isinstance(unavailable(kafka, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), TopicAbsent)
    assert isinstance(refusal_of_record(kafka, "t", KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), TooLarge)
    assert isinstance(refusal_of_record(kafka, "t", KafkaError(KafkaError._UNKNOWN_TOPIC)), TopicAbsent)
    assert type(refusal_of_record(kafka, "t", KafkaError(KafkaError._MSG_TIMED_OUT))) is Unavailable


def test_an_exception_that_holds_a_mere_text_is_explained_too() -> None:
    assert "odd" in str(unavailable(section("text:9092"), KafkaException("odd")))


def test_a_wrong_password_is_said_and_not_that_kafka_does_not_answer() -> None:
    kafka = section("login:9092", **{"sasl.password": "one"})
    contact_of(kafka).failed(KafkaError(KafkaError._AUTHENTICATION, "Authentication failed: wrong credentials"))
    contact_of(kafka).failed(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    said = str(unavailable(kafka, KafkaError(KafkaError._TRANSPORT, "Failed to get metadata")))
    assert "refuses the login (Authentication failed: wrong credentials)" in said
    other = section("login:9092", **{"sasl.password": "two"})
    assert "does not answer" in str(unavailable(other, KafkaError(KafkaError._TRANSPORT, "no metadata")))
    contact_of(kafka).answered()
    assert "does not answer" in str(unavailable(kafka, KafkaError(KafkaError._TRANSPORT, "no metadata")))


def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = StepClock()
    contact = Contact("here:9092", clock)
    refused = KafkaError(KafkaError._TRANSPORT, "Connection refused")
    for _ in range(2):
        for _ in range(300):
            contact.failed(refused)
            contact.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
            clock.sleep_s(1.0)
        contact.answered()
        contact.answered()
    away = (
        "Kafka at here:9092 does not answer (Connection refused); start it or correct kafka.bootstrap_servers; "
        "going on when it does"
    )
    assert [record.getMessage() for record in caplog.records] == 2 * [away, "Kafka at here:9092 answers again"]


def test_a_single_broker_that_goes_away_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    contact = Contact("here:9092", StepClock())
    contact.failed(KafkaError(KafkaError._TRANSPORT, "Disconnected"))
    contact.answered()
    assert caplog.records == []


def test_what_the_client_repeats_is_logged_only_for_who_debugs(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test.repeats")
    quieten(log)
    quieten(log)
    assert len(log.filters) == 1
    for level, expected in ((logging.INFO, ["MAXPOLL [rdkafka#1] late"]), (logging.DEBUG, 3)):
        caplog.clear()
        log.setLevel(level)
        for facility in ("FAIL", "ERROR", "MAXPOLL"):
            log.log(logging.ERROR, "%s [%s] %s", facility, "rdkafka#1", "late")
        said = [record.getMessage() for record in caplog.records]
        assert said == expected or len(said) == expected


@pytest.mark.parametrize("use", ["admin", "table", "sender", "writer", "consumer"])
def test_a_property_that_the_client_does_not_take_is_an_error_of_the_configuration(use: str) -> None:
    log = KafkaLog(section("127.0.0.1:1", **{"no.such.property": "1"}))
    uses: dict[str, Callable[[], object]] = {
        "admin": lambda: log.admin,
        "table": lambda: log.table("t"),
        "sender": log.sender,
        "writer": lambda: log.writer("n", "c"),
        "consumer": lambda: log.consumer("g", lambda reason, offsets: None),
    }
    with pytest.raises(ConfigError, match=r"no\.such\.property.*correct \[kafka\.client\]"):
        uses[use]()
