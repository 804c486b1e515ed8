"""librdkafka settings that carry a guarantee: part of the contract, so no configuration may change them."""

from __future__ import annotations

from collections.abc import Mapping

PRODUCER_GUARANTEES: Mapping[str, str | bool] = {
    "enable.idempotence": True,  # no duplicate and no reordering by retries
    "acks": "all",
    "partitioner": "murmur2_random",  # the Java partitioner; librdkafka's default would split a key over two partitions
}

# With several requests in flight, librdkafka reports a record that the broker refused as delivered once a later record
# of its partition is. A publisher notices the missing offset, so an application may allow it more requests. vecferry's
# other producers do not check offsets, and always have one request in flight.
ONE_REQUEST_AT_A_TIME: Mapping[str, int] = {"max.in.flight.requests.per.connection": 1}

CONSUMER_GUARANTEES: Mapping[str, str | bool] = {
    "enable.auto.commit": False,  # an offset is committed only after its event has an outcome
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # a missing offset stops the worker; it never jumps
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "check.crcs": True,
}

_OURS = frozenset({"group.id", "transactional.id", "bootstrap.servers"})
GUARANTEED = frozenset(PRODUCER_GUARANTEES) | frozenset(CONSUMER_GUARANTEES) | _OURS
