"""All that a worker knows of one partition that it owns, in one object with one life."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import DecodeError
from ..log.port import Message, Place
from ..schemas.snapshot import SnapshotBlock, SnapshotMarker
from .tally import Tally

Content = SnapshotBlock | SnapshotMarker | DecodeError


@dataclass(slots=True, kw_only=True, eq=False)
class Partition:
    """Made when the partition is assigned, dropped as a whole when it is given up.

    run           the run whose snapshot partition this is; None for a live one
    next_offset   the first offset that no turn has taken in
    known_below   what the store had applied when the partition was assigned; below it is redelivery
    marked        of a run: the newest mark that the store has or is being given
    tally         of a run: what has arrived of it
    gap           the newest gap between offsets: the first of it, and the one behind it
    has_gaps      a gap was there again when it was read again, so it is the log's own
    held          messages that were gathered and are in no turn yet, with their estimated rows and their bytes
    decoded       of a run: the contents of held messages, by offset
    finished      what the group may commit: every event below it has its outcome
    committed     what Kafka has confirmed to be committed
    applied       of a live one: what the store has recorded as applied
    complete      of a live one: the store holds a full copy of it
    paused        the client returns nothing of it
    """

    place: Place
    next_offset: int
    known_below: int
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
    complete: bool = False
    paused: bool = False

    def take_held(self) -> list[Message]:
        """What was gathered, which is no longer held."""
        taken, self.held = self.held, []
        self.held_rows = self.held_bytes = 0
        return taken


Owned = dict[Place, Partition]
