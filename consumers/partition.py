"""What a worker knows of one partition that it owns."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import DecodeError
from ..log.port import Message, Place
from ..schemas.snapshot import SnapshotBlock, SnapshotMarker
from .tally import Tally

Content = SnapshotBlock | SnapshotMarker | DecodeError


@dataclass(slots=True, kw_only=True, eq=False)
class Partition:
    """Created when the partition is assigned, and dropped as a whole when it is revoked.

    run           the run whose snapshot partition this is; None for a live one
    next_offset   the first offset that is in no turn yet
    handled_below   the store's mark when the partition was assigned; messages below it are redelivered
    marked        snapshot only: the newest mark that the store has recorded or is about to record
    tally         snapshot only: which chunks, and which part of the next one, have arrived
    gap           the newest gap between offsets: [first missing offset, next offset found)
    has_gaps      the log itself has gaps: one was still there after it was read again
    held          messages that were gathered and are in no turn yet, with their estimated rows and their bytes
    decoded       snapshot only: the contents of held messages, by offset
    finished      the offset that the group may commit: every event below it has its outcome
    committed     the offset whose commit Kafka has confirmed
    applied       live only: the offset that the store has recorded as applied
    clean_from    live only: no event from here up to ``applied`` became a dead letter
    complete      live only: the store holds a full copy of the partition
    paused        the client is paused on it
    """

    place: Place
    next_offset: int
    handled_below: int
    run: str | None = None
    marked: int = 0
    tally: Tally = field(default_factory=Tally)
    gap: tuple[int, int] | None = None
    has_gaps: bool = False
    held: list[Message] = field(default_factory=list)
    held_rows: int = 0
    held_bytes: int = 0
    decoded: dict[int, Content] = field(default_factory=dict)
    finished: int | None = None
    committed: int | None = None
    applied: int = 0
    clean_from: int = 0
    complete: bool = False
    paused: bool = False

    def take_held(self) -> list[Message]:
        """The held messages; afterwards none is held."""
        taken, self.held = self.held, []
        self.held_rows = self.held_bytes = 0
        return taken


Owned = dict[Place, Partition]
