"""What is in a dead letter, as far as it can be read: for people. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from ..errors import DecodeError
from ..schemas.batch import Op
from ..schemas.collection import Collection
from ..schemas.definitions import current, writers
from ..schemas.records import decode_record, writer_of
from ..schemas.snapshot import SnapshotBlock, SnapshotDecoder
from .redrive import StoredLetter


def event_of(letter: StoredLetter, collection: Collection, *, live_topic: str) -> dict[str, object]:
    """The event in ``letter``: id, op, metadata, dimension of its vector and more; ``problem`` alone if it is none.

    Of a snapshot, the one row. More is read than can be redriven: an event of another space is shown as it is.
    """
    if letter.whole_bytes is not None:
        return {"problem": f"only the beginning of {letter.whole_bytes} bytes was kept"}
    try:
        if letter.origin.topic == live_topic:
            return _live(letter.value)
        content = SnapshotDecoder(collection).decode(letter.value, letter.origin.partition)
    except DecodeError as error:
        return {"problem": f"it is no event: {error}"}
    if not isinstance(content, SnapshotBlock) or len(content.events) != 1:
        return {"problem": "it is not one row of a snapshot block"}
    return {
        "id": content.events.ids[0],
        "op": Op(int(content.events.ops[0])).name,
        "run": content.run,
        "chunk": content.chunk,
        "metadata": _metadata(content.events.metadata[0].decode("utf-8", "replace")),
        "vector_dims": int(content.events.vectors.shape[1]),
    }


def _live(value: bytes | None) -> dict[str, object]:
    writer = writer_of(value, writers("vector_event"))
    assert value is not None  # writer_of refuses a null value
    record = decode_record(value, writer, current("vector_event"))
    text = record["source_text"]
    return {
        "id": record["id"],
        "op": record["op"],
        "space": record["space"],
        "occurred_at": _time(record["occurred_at"]),
        "event_id": record["event_id"].hex(),
        "metadata": _metadata(record["metadata"]),
        "source_text_chars": None if text is None else len(text),
        "vector_dims": len(record["vector"]),
    }


def _time(unix_ms: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms)).isoformat()
    except OverflowError:
        return f"{unix_ms} ms since 1970"


def _metadata(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
