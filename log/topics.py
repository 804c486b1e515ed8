"""With which settings vecferry makes its topics."""

from __future__ import annotations

RETENTION_MS = 30 * 24 * 3_600 * 1_000

LIVE_TOPIC = {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS), "retention.bytes": "-1"}
# Small segments and an eager cleaner: every reader of a compacted topic starts at its beginning.
COMPACTED_TOPIC = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
}
# A record of the largest size that brokers take by default, and what a dead letter says beside it.
DEAD_LETTER_TOPIC = {**COMPACTED_TOPIC, "max.message.bytes": str(2 * 1024 * 1024)}
