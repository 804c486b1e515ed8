"""librdkafka's mock cluster: real TCP brokers inside this process, with faults on demand.

Source of the calls: ``rdkafka_mock.h`` of librdkafka. They are exported by the library that the confluent-kafka wheel
bundles; the owner handle exists only to hold the cluster.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType

import confluent_kafka

PRODUCE = 0  # ApiKey
NOT_LEADER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS, MESSAGE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED = 6, 7, 19, 10, 29
OUT_OF_ORDER_SEQUENCE_NUMBER, DUPLICATE_SEQUENCE_NUMBER = 45, 46


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent
    (path,) = [*folder.parent.glob("confluent_kafka.libs/librdkafka*"), *folder.glob(".dylibs/librdkafka*")]
    library = ctypes.CDLL(str(path))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, *arguments in (
        ("rd_kafka_conf_new", pointer),
        ("rd_kafka_new", pointer, number, pointer, text, ctypes.c_size_t),
        ("rd_kafka_destroy_flags", None, pointer, number),
        ("rd_kafka_mock_cluster_new", pointer, pointer, number),
        ("rd_kafka_mock_cluster_destroy", None, pointer),
        ("rd_kafka_mock_cluster_bootstraps", text, pointer),
        ("rd_kafka_mock_topic_create", number, pointer, text, number, number),
        ("rd_kafka_mock_partition_set_leader", number, pointer, text, ctypes.c_int32, ctypes.c_int32),
        ("rd_kafka_mock_topic_set_error", None, pointer, text, number),
        ("rd_kafka_mock_push_request_errors_array", None, pointer, ctypes.c_int16, ctypes.c_size_t, pointer),
        ("rd_kafka_mock_broker_set_down", number, pointer, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", number, pointer, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_rtt", number, pointer, ctypes.c_int32, number),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """A cluster of ``brokers``, numbered from 1; leaving the context ends it."""

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        reason = ctypes.create_string_buffer(512)
        self._owner = self._library.rd_kafka_new(0, self._library.rd_kafka_conf_new(), reason, 512)
        assert self._owner, reason.value
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._owner, brokers)
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> MockKafka:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy_flags(self._owner, 0)

    def create_topic(self, name: str, partitions: int) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def fail_next(self, *errors: int, api: int = PRODUCE) -> None:
        """The next requests of ``api`` are answered by these error codes, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(errors), codes)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make ``broker`` the leader of a partition."""
        assert self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker) == 0

    def answer_after(self, milliseconds: int, broker: int = 1) -> None:
        """From now on every request to ``broker`` waits that long for its answer."""
        assert self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds) == 0

    def set_down(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def set_up(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0
