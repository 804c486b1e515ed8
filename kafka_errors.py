"""What an error of Kafka or its client means to people: one table from codes to sentences, each with its remedy.

Every code of confluent_kafka stands in it; a test goes through them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from confluent_kafka import KafkaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """``sentence`` follows "Kafka at ADDRESS"; its ``{}`` is the client's own text.

    ``decides``: when the client met this before Kafka fell silent, this is the reason, and not the silence.
    ``lasts``: the same request fails again until somebody follows the remedy.
    """

    sentence: str
    remedy: str
    codes: frozenset[str]
    decides: bool = False
    lasts: bool = False

    def said(self, address: str, detail: str) -> str:
        """The whole line."""
        return f"Kafka at {address} {self.sentence.format(detail)}; {self.remedy}"


def _meaning(sentence: str, remedy: str, codes: str, *, decides: bool = False, lasts: bool = False) -> Meaning:
    return Meaning(
        sentence=sentence, remedy=remedy, codes=frozenset(codes.split()), decides=decides, lasts=decides or lasts
    )


AWAY = _meaning(
    "does not answer ({})",
    "start it or correct kafka.bootstrap_servers",
    "_FAIL _TRANSPORT _RESOLVE _TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT _ALL_BROKERS_DOWN _WAIT_COORD _WAIT_CACHE "
    "_DESTROY_BROKER _UNKNOWN_BROKER _INTR _RETRY _NODE_UPDATE NETWORK_EXCEPTION BROKER_NOT_AVAILABLE "
    "REQUEST_TIMED_OUT LISTENER_NOT_FOUND REBOOTSTRAP_REQUIRED MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE",
)
ABSENT = _meaning(
    "has no such topic ({})",
    "run `vecferry enrol COLLECTION`, or correct the namespace",
    "UNKNOWN_TOPIC_OR_PART UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID _UNKNOWN_TOPIC _UNKNOWN_PARTITION _NOENT "
    "RESOURCE_NOT_FOUND",
    lasts=True,
)
TOO_LARGE = _meaning(
    "takes no record of this size ({})",
    "raise max.message.bytes of the topic, or shorten the record",
    "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG_SIZE",
    lasts=True,
)
_LOGIN = _meaning(
    "refuses the login ({})",
    "correct sasl.username and sasl.password in [kafka.client]",
    "_AUTHENTICATION SASL_AUTHENTICATION_FAILED UNACCEPTABLE_CREDENTIAL PRINCIPAL_DESERIALIZATION_FAILURE "
    "INVALID_PRINCIPAL_TYPE DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH "
    "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_EXPIRED",
    decides=True,
)
_MECHANISM = _meaning(
    "expects another kind of login ({})",
    "correct security.protocol and sasl.mechanism in [kafka.client]",
    "UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED _UNKNOWN_PROTOCOL",
    decides=True,
)
_TLS = _meaning(
    "gives no TLS connection ({})",
    "renew the certificate, or correct security.protocol and ssl.* in [kafka.client]",
    "_SSL",
    decides=True,
)
_TOPIC_RIGHT = _meaning(
    "does not let this user use the topic ({})",
    "allow it READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on the topics of the namespace",
    "TOPIC_AUTHORIZATION_FAILED",
    decides=True,
)
_GROUP_RIGHT = _meaning(
    "does not let this user use the consumer group ({})",
    "allow it READ on the groups of the namespace",
    "GROUP_AUTHORIZATION_FAILED",
    decides=True,
)
_CLUSTER_RIGHT = _meaning(
    "does not let this user do it ({})",
    "allow it CREATE, DESCRIBE and IDEMPOTENT_WRITE on the cluster",
    "CLUSTER_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED",
    decides=True,
)
_WRITER_RIGHT = _meaning(
    "does not let this user write in transactions ({})",
    "allow it WRITE and DESCRIBE on the transactional ids of the namespace",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    decides=True,
)
_MEANINGS = (
    AWAY,
    ABSENT,
    TOO_LARGE,
    _LOGIN,
    _MECHANISM,
    _TLS,
    _TOPIC_RIGHT,
    _GROUP_RIGHT,
    _CLUSTER_RIGHT,
    _WRITER_RIGHT,
    _meaning(
        "is not ready yet ({})",
        "run the same again in a moment, and look at its brokers if that does not help",
        "LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH NOT_CONTROLLER "
        "COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR REASSIGNMENT_IN_PROGRESS "
        "NO_REASSIGNMENT_IN_PROGRESS FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH OFFSET_NOT_AVAILABLE STALE_BROKER_EPOCH "
        "PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED UNSTABLE_OFFSET_COMMIT "
        "CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED OPERATION_NOT_ATTEMPTED UNKNOWN_CONTROLLER_ID "
        "FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH _IN_PROGRESS _PREV_IN_PROGRESS",
    ),
    _meaning(
        "has too few in-sync replicas ({})",
        "bring back the brokers that are down; nothing is acknowledged until then",
        "NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF",
        lasts=True,
    ),
    _meaning(
        "holds this user back ({})",
        "raise its quota, or run the same again later",
        "THROTTLING_QUOTA_EXCEEDED TELEMETRY_TOO_LARGE SHARE_SESSION_LIMIT_REACHED",
    ),
    _meaning(
        "does not make the topic as asked ({})",
        "change that rule of the brokers, or make the topic yourself",
        "POLICY_VIOLATION INVALID_CONFIG INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT "
        "TOPIC_EXCEPTION TOPIC_ALREADY_EXISTS TOPIC_DELETION_DISABLED",
    ),
    _meaning(
        "refuses the time of the record ({})",
        "set message.timestamp.type=LogAppendTime on the topic: `vecferry doctor COLLECTION` prints the command",
        "INVALID_TIMESTAMP",
        lasts=True,
    ),
    _meaning(
        "refuses the record ({})",
        "`vecferry doctor COLLECTION` says what is wrong with the topic",
        "INVALID_RECORD INVALID_MSG INVALID_REQUIRED_ACKS _INVALID_DIFFERENT_RECORD",
        lasts=True,
    ),
    _meaning(
        "lets another process write in place of this one ({})",
        "leave the work to it, or run the same again",
        "_FENCED PRODUCER_FENCED INVALID_PRODUCER_EPOCH INVALID_PRODUCER_ID_MAPPING UNKNOWN_PRODUCER_ID "
        "FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH FENCED_STATE_EPOCH UNRELEASED_INSTANCE_ID",
    ),
    _meaning(
        "does not take the transaction ({})",
        "run the same again; nothing of it was written",
        "INVALID_TXN_STATE INVALID_TRANSACTION_TIMEOUT TRANSACTION_ABORTABLE OUT_OF_ORDER_SEQUENCE_NUMBER "
        "DUPLICATE_SEQUENCE_NUMBER _GAPLESS_GUARANTEE",
    ),
    _meaning(
        "does not have this member in the group ({})",
        "run the same again; if the group still has members that should be gone, stop those workers first",
        "ILLEGAL_GENERATION UNKNOWN_MEMBER_ID MEMBER_ID_REQUIRED INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID "
        "INVALID_SESSION_TIMEOUT REBALANCE_IN_PROGRESS GROUP_MAX_SIZE_REACHED NON_EMPTY_GROUP GROUP_ID_NOT_FOUND "
        "GROUP_SUBSCRIBED_TO_TOPIC STALE_MEMBER_EPOCH UNSUPPORTED_ASSIGNOR INVALID_COMMIT_OFFSET_SIZE "
        "OFFSET_METADATA_TOO_LARGE _UNKNOWN_GROUP _ASSIGNMENT_LOST _MAX_POLL_EXCEEDED",
    ),
    _meaning(
        "does not hold the offset that was asked for ({})",
        "`vecferry doctor COLLECTION` says what retention, or a restored disk, has taken away",
        "OFFSET_OUT_OF_RANGE _AUTO_OFFSET_RESET _LOG_TRUNCATION _NO_OFFSET",
    ),
    _meaning(
        "or this machine has trouble with its disk ({})",
        "look at the disk, and at the log of the broker",
        "KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND _FS _CRIT_SYS_RESOURCE",
    ),
    _meaning(
        "is too old for this, or is configured without it ({})",
        "use Kafka 2.8 or newer, or switch it on",
        "UNSUPPORTED_VERSION UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE _UNSUPPORTED_FEATURE "
        "_NOT_IMPLEMENTED _NOT_CONFIGURED INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED INCONSISTENT_VOTER_SET "
        "INVALID_REGISTRATION INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND",
    ),
    _meaning(
        "sent something that cannot be read ({})",
        "look at the brokers' log, and at what stands between them and this machine",
        "_BAD_MSG _BAD_COMPRESSION _UNDERFLOW _PARTIAL _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION "
        "_VALUE_DESERIALIZATION",
    ),
    _meaning(
        "was asked something that it does not take ({})",
        "--debug shows what led to it; correct [kafka.client] if one of its properties is named",
        "_INVALID_ARG _INVALID_TYPE _CONFLICT _STATE _READ_ONLY _OUTDATED _INCONSISTENT _EXISTING_SUBSCRIPTION "
        "_APPLICATION _FATAL INVALID_REQUEST DUPLICATE_RESOURCE INVALID_REGULAR_EXPRESSION INVALID_RECORD_STATE "
        "UNKNOWN_SUBSCRIPTION_ID SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH STREAMS_INVALID_TOPOLOGY "
        "STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED UNKNOWN",
    ),
    _meaning(
        "was not asked any more ({})",
        "the client was closed, or its queue is full: run the same again",
        "_DESTROY _PURGE_QUEUE _PURGE_INFLIGHT _QUEUE_FULL",
    ),
    _meaning(
        "reports nothing wrong ({})",
        "run the same again",
        "NO_ERROR _NOOP _PARTITION_EOF _ASSIGN_PARTITIONS _REVOKE_PARTITIONS",
    ),
)
UNFORESEEN = _meaning("has an error that is not known here ({})", "use a newer vecferry; --debug shows more", "")

# Code -> meaning. A release of the client that lacks a code leaves it out.
MEANINGS: Mapping[int, Meaning] = MappingProxyType(
    {getattr(KafkaError, name): meaning for meaning in _MEANINGS for name in meaning.codes if hasattr(KafkaError, name)}
)


def meaning_of(error: KafkaError) -> Meaning:
    """What ``error`` means; UNFORESEEN for a code of a later client."""
    return MEANINGS.get(error.code(), UNFORESEEN)
