"""What callers hand to ``search`` and ``get``, checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidRecord
from ..schemas.collection import MAX_ID_BYTES, Collection, IdType, Space
from ..schemas.ids import Id, id_text
from ..schemas.position import epoch_of, next_offset, offset_of
from ..schemas.tokens import Run, WriteToken
from .session import Session

After = WriteToken | Session | Sequence[WriteToken | Session]

MAX_K = 10_000
_LONGEST_S = 1e6  # threads cannot wait for much longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What an answer must show at least.

    wanted    partition -> next offset that the answering store must have applied
    sessions  all sessions named; ``session`` is the one to be updated, and ``written`` what it asked for
    writes    the writes themselves, which the store must not have refused
    """

    wanted: Mapping[int, int]
    sessions: tuple[Session, ...]
    session: Session | None
    written: Mapping[int, int]
    writes: tuple[Run, ...] = ()


def query_vector(vector: ArrayLike, space: Space) -> NDArray[np.float32]:
    """``vector`` as float32 [d], C-contiguous; InvalidRecord unless it is finite and of the space's dimension."""
    try:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(vector, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRecord("vector", "it is not an array of numbers", "pass floats") from error
    if array.shape != (space.dimension,):
        shape = "x".join(map(str, array.shape)) or "a scalar"
        raise InvalidRecord("vector", f"its shape is {shape}", f"pass one vector of dimension {space.dimension}")
    if not np.isfinite(array).all():
        raise InvalidRecord("vector", "a value is not finite as float32", "pass finite floats")
    if space.metric == "cosine" and not array.any():
        raise InvalidRecord("vector", "all its values are zero", "cosine similarity needs a direction")
    return array


def result_count(k: int) -> int:
    """``k`` if it is a number of results that can be asked for."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise InvalidRecord("k", f"{k!r} is not a number of results", f"pass an integer from 1 to {MAX_K}")
    return k


def asked_ids(ids: Sequence[Id], id_type: IdType) -> list[str]:
    """``ids`` as texts, as many as there are."""
    if isinstance(ids, (str, bytes)):
        raise InvalidRecord("ids", "it is one id", "pass a list of ids")
    if not isinstance(ids, Iterable):
        raise InvalidRecord("ids", f"{type(ids).__name__} is no list", "pass a list of ids")
    texts = []
    for id_ in ids:
        text = id_text(id_, id_type)
        if text is None or not _is_id(text):
            raise InvalidRecord(
                "ids", f"{id_!r:.80} is not an id", f"pass text of 1 to {MAX_ID_BYTES} bytes without NUL"
            )
        texts.append(text)
    return texts


def _is_id(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= MAX_ID_BYTES and "\0" not in text
    except UnicodeEncodeError:
        return False


def time_out_s(timeout: float) -> float:
    """``timeout`` if it is a positive number of seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= _LONGEST_S:
        raise InvalidRecord("timeout", f"{timeout!r} is not a time", "pass a positive number of seconds")
    return float(timeout)


def reads_as(key: str | None, session: Session | None) -> str | None:
    """Whose read it is: ``key``, else that of ``session``."""
    if not isinstance(key, str | None):
        raise InvalidRecord("key", f"{type(key).__name__} is no text", "pass what names the user, as text")
    if not isinstance(session, Session | None):
        raise InvalidRecord("session", f"{type(session).__name__} is no Session", "pass a Session")
    return session.key if key is None and session is not None else key


def demand(after: After | None, session: Session | None, collection: Collection, topic: str) -> Demand:
    """What ``after`` and ``session`` together ask of an answer; raises InvalidRecord for what cannot be met, ever."""
    given = [] if after is None else list(after) if isinstance(after, Iterable) else [after]
    sessions = [] if session is None else [session]
    wanted: dict[int, int] = {}
    writes: list[Run] = []
    for entry in given:
        if isinstance(entry, Session):
            sessions.append(entry)
        elif not isinstance(entry, WriteToken):
            raise InvalidRecord("after", f"{type(entry).__name__} is neither", "pass a WriteToken, a Session or a list")
        elif entry.topic != topic:
            raise InvalidRecord("after", f"the token is of topic {entry.topic}", f"this reader reads {topic}")
        else:
            _add(wanted, "after", entry.positions, collection)
            writes += entry.writes
    written = {} if session is None else session.written(topic)
    for each in sessions:
        _add(wanted, "session", written if each is session else each.written(topic), collection)
        writes += each.writes(topic)
    return Demand(
        wanted=wanted, sessions=tuple(sessions), session=session, written=written, writes=tuple(dict.fromkeys(writes))
    )


def _add(wanted: dict[int, int], field: str, positions: Mapping[int, int], collection: Collection) -> None:
    for partition, position in positions.items():
        if not 0 <= partition < collection.partitions:
            raise InvalidRecord(
                field, f"it names partition {partition}", f"{collection.name} has {collection.partitions} partitions"
            )
        if epoch_of(position) != collection.epoch:
            raise InvalidRecord(
                field,
                f"it was written in epoch {epoch_of(position)}",
                f"{collection.name} is in epoch {collection.epoch}; write again and use the new token",
            )
        wanted[partition] = max(wanted.get(partition, 0), next_offset(offset_of(position)))
