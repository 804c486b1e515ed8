"""Dead letters: reading them, and sending them through the same guard as any event once their cause is mended.

A letter is history as soon as its id has a newer state: then it is resolved, whatever is in it. So the way out of any
letter is to publish the right state of its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..backfill.context import Context, opened
from ..errors import DecodeError, InvalidRecord, Refused, Rejected, Unavailable, VecferryError
from ..log.port import REQUEST_TIMEOUT_S
from ..schemas.batch import EventBatch, Op, Outcome
from ..schemas.collection import Collection
from ..schemas.dead_letters import CUT, Origin, parse_origin
from ..schemas.decode import EventDecoder, drop_misplaced
from ..schemas.partitioner import partitions_of
from ..schemas.position import MIN_EPOCH, encode_position, epoch_of
from ..schemas.snapshot import SnapshotBlock, SnapshotDecoder
from ..schemas.spelling import Spelling
from ..schemas.topics import dlq_topic, events_topic
from ..stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLetter:
    """One unresolved dead letter. ``value``: the original bytes; None for a record without a value.

    ``whole_bytes``: how many there were, when only the beginning was kept. ``position``: of the event, or of the row
    that was copied; None for letters that do not say it.
    """

    key: str
    origin: Origin
    reason: str
    record_key: bytes | None
    value: bytes | None
    whole_bytes: int | None = None
    position: int | None = None

    @property
    def id(self) -> str | None:
        """The id that the record was keyed by, as far as it is one."""
        try:
            return self.record_key.decode() if self.record_key else None
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What became of one letter: its outcome in the store, or why it stays. ``resolved``: it left the topic."""

    key: str
    result: str
    resolved: bool


def letters(context: Context, keys: Sequence[str] = ()) -> tuple[StoredLetter, ...]:
    """The unresolved letters, or those of ``keys``, oldest offset first; raises Refused for a key that is none."""
    context.letters.sync()
    values = context.letters.items("")
    unknown = [key for key in keys if key not in values]
    if unknown:
        raise Refused(
            [f"there is no unresolved dead letter {key!r}; see `vecferry dlq list {context.name}`" for key in unknown]
        )
    found = [_letter(context, key, values[key]) for key in (keys or values)]
    return tuple(sorted(found, key=lambda letter: (letter.origin.topic, letter.origin.partition, letter.origin.offset)))


def redrive(context: Context, chosen: Sequence[StoredLetter]) -> tuple[Redriven, ...]:
    """Apply each letter to the store that could not take it, at its original position, and resolve it on success.

    Values are spelled as the store's columns give them back, which may be all that was wrong. A letter that the store
    or the decoder still refuses stays. A newer state of its id wins as always, and resolves the letter. Blocks. Raises
    Transient, Overloaded, Fatal, Unavailable: run it again, what was resolved is done.
    """
    results: list[Redriven] = []
    resolver = _Resolver(context)
    for store_name in dict.fromkeys(letter.origin.store for letter in chosen):
        with opened(context.open_store, store_name) as store:
            spelling = Spelling([store.fields()])
            for letter in chosen:
                if letter.origin.store == store_name:
                    results.append(_redrive_one(context, store, spelling, letter, resolver))
    return tuple(results)


def discard(context: Context, chosen: Sequence[StoredLetter]) -> tuple[Redriven, ...]:
    """Resolve letters without applying them: the operator's word that these records are not wanted. Blocks."""
    resolver = _Resolver(context)
    for letter in chosen:
        resolver.resolve(letter.key)
    return tuple(Redriven(key=letter.key, result="discarded", resolved=True) for letter in chosen)


def _letter(context: Context, key: str, value: bytes) -> StoredLetter:
    headers = context.letters.headers(key)
    whole = headers.get(CUT)  # empty when nothing was cut
    position = headers.get("vecferry.position")
    return StoredLetter(
        key=key,
        origin=parse_origin(key),
        reason=(headers.get("vecferry.reason") or b"").decode("utf-8", "replace"),
        record_key=headers.get("vecferry.key"),
        value=None if headers.get("vecferry.null-value") == b"1" else value,
        whole_bytes=int(whole) if whole else None,
        position=int(position) if position else None,
    )


def _redrive_one(
    context: Context, store: Store, spelling: Spelling, letter: StoredLetter, resolver: _Resolver
) -> Redriven:
    live_topic = events_topic(context.config.namespace, context.name)
    try:
        outcome = Outcome.STALE
        if not _is_history(store, letter, context.collection, live_topic):
            batch = _spelled(decode_letter(letter, context.collection, live_topic=live_topic), spelling)
            outcome = Outcome(int(store.apply(batch, ())[0]))
    except (DecodeError, Rejected, InvalidRecord) as error:
        return Redriven(key=letter.key, result=str(error), resolved=False)
    resolver.resolve(letter.key)
    return Redriven(key=letter.key, result=outcome.name.lower(), resolved=True)


def _is_history(store: Store, letter: StoredLetter, collection: Collection, live_topic: str) -> bool:
    """Whether the store holds a newer state of the id of ``letter``, so that nothing of the letter matters any more."""
    if letter.id is None or letter.position is None:
        return False
    is_live = letter.origin.topic == live_topic
    if is_live and int(partitions_of([letter.id], collection.partitions)[0]) != letter.origin.partition:
        return False  # only offsets of one partition order the events of an id
    return any(found > letter.position for found in store.fetch([letter.id]).positions.tolist())


def _spelled(batch: EventBatch, spelling: Spelling) -> EventBatch:
    if not spelling or batch.ops[0] == Op.DELETE:
        return batch
    return replace(batch, metadata=[spelling.text(batch.metadata[0])])


def decode_letter(letter: StoredLetter, collection: Collection, *, live_topic: str) -> EventBatch:
    """The one event in ``letter``, at its original position; raises DecodeError. Pure."""
    origin = letter.origin
    if letter.position is not None and letter.position >= encode_position(MIN_EPOCH, 0):
        collection = replace(collection, epoch=epoch_of(letter.position))  # an offset belongs to its epoch
    if letter.whole_bytes is not None:
        raise DecodeError(
            f"only the beginning of its {letter.whole_bytes} bytes was kept; publish the right state of its id, then "
            "redrive the letter: that resolves it"
        )
    if origin.topic == live_topic:
        decoded = EventDecoder(collection).decode(
            [letter.value], [letter.record_key], [origin.partition], [origin.offset]
        )
        decoded = drop_misplaced(decoded, collection.partitions)
        if decoded.errors:
            raise decoded.errors[0]
        return decoded.batch
    content = SnapshotDecoder(collection).decode(letter.value, origin.partition)
    if not isinstance(content, SnapshotBlock) or len(content.events) != 1:
        raise DecodeError(
            f"not one row of a snapshot block; run `vecferry start {collection.name} --new-run`, which copies its rows "
            "again, then discard it"
        )
    return EventBatch.joined([content.events])


class _Resolver:
    """Writes the null value that resolves a letter."""

    def __init__(self, context: Context) -> None:
        self._topic = dlq_topic(context.config.namespace, context.name)
        self._sender = context.log.sender()

    def resolve(self, key: str) -> None:
        """Block until Kafka has it; raises Unavailable."""
        failures: list[VecferryError] = []
        sent = self._sender.send(self._topic, 0, None, key=key.encode(), on_failure=failures.append)
        left = self._sender.flush(REQUEST_TIMEOUT_S)
        if failures or left or not sent:
            raise Unavailable(
                f"topic {self._topic} did not acknowledge that {key!r} is resolved; run the command again"
            ) from (failures[0] if failures else None)
