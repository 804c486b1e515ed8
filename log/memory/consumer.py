"""A member of a group on a log in memory. Rebalances happen inside ``poll``, cooperatively, as with Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...clock import Clock
from ..port import Listener, Message, OffsetGone, OnCommit, Place, TopicAbsent
from .broker import Broker, after, end_of


class MemoryConsumer:
    """See :class:`~vecferry.log.port.Consumer`. A call that waits moves the clock, and waits for nothing else."""

    def __init__(self, broker: Broker, group: str, on_commit: OnCommit, clock: Clock) -> None:
        self._broker = broker
        self._group_name = group
        self._group = broker.group(group)
        self._on_commit = on_commit
        self._clock = clock
        self.member = broker.number()
        self._topic = ""
        self._listener: Listener | None = None
        self._owned: set[int] = set()
        self._next: dict[Place, int] = {}
        self._ended: set[Place] = set()  # places whose end was reported, until more arrives
        self._paused: set[Place] = set()

    def subscribe(self, topic: str, listener: Listener) -> None:
        self._topic, self._listener = topic, listener
        self._group.members[self.member] = set()

    def poll(self, timeout_s: float) -> Message | None:
        return next(iter(self.consume(1, timeout_s)), None)

    def consume(self, limit: int, timeout_s: float) -> list[Message]:
        self._rebalance()
        taken: list[Message] = []
        for place in [place for place in self._next if place not in self._paused]:
            while len(taken) < limit and (message := self._take(place)) is not None:
                taken.append(message)
        if len(taken) < limit:
            self._clock.sleep_s(timeout_s)
        return taken

    def read(self, starts: Mapping[Place, int]) -> None:
        self._next |= starts
        self._ended -= set(starts)
        self._paused -= set(starts)

    def leave(self, places: set[Place]) -> None:
        for place in places:
            self._next.pop(place, None)

    def seek(self, place: Place, offset: int) -> None:
        self._next[place] = offset
        self._ended.discard(place)

    def pause(self, places: set[Place]) -> None:
        self._paused |= places

    def resume(self, places: set[Place]) -> None:
        self._paused -= places

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        return {place: self._group.committed[place] for place in places if place in self._group.committed}

    def commit(self, offsets: Mapping[Place, int], *, wait: bool) -> None:
        del wait
        if self.member not in self._group.members:
            self._on_commit("the group goes on without this member", {})
            return
        ours = self._group.members[self.member]
        taken = {place: offset for place, offset in offsets.items() if place[1] in ours}
        self._group.committed |= taken
        self._on_commit(None if len(taken) == len(offsets) else "a partition has another owner", taken)

    def seen_end(self, place: Place) -> int | None:
        return self._broker.partition(place).end

    def close(self) -> None:
        if self._listener is not None and self.member in self._group.members and self._owned:
            self._listener.revoked(sorted(self._owned))
        self._owned = set()
        self._broker.expel(self._group_name, self.member)

    def _rebalance(self) -> None:
        if self._listener is None:
            return
        if self.member not in self._group.members:  # expelled: join again, with nothing
            lost, self._owned = sorted(self._owned), set()
            self._group.members[self.member] = set()
            if lost:
                self._listener.lost(lost)
        share = self._broker.shares(self._group_name, self._topic)[self.member]
        if revoked := sorted(self._owned - share):
            self._listener.revoked(revoked)
            self._owned -= set(revoked)
            self._group.members[self.member] -= set(revoked)
        held = set().union(*self._group.members.values())  # a partition is assigned after its owner released it
        if gained := sorted(share - held):
            self._group.members[self.member] |= set(gained)
            self._owned |= set(gained)
            self._listener.assigned(gained)

    def _take(self, place: Place) -> Message | None:
        """The next message of ``place``, its end if that was not reported yet, or None."""
        offset = self._next.get(place)
        if offset is None:
            return None
        partition = self._broker.partition(place)
        if not partition.begin <= offset <= partition.end:
            raise OffsetGone(place, f"offset {offset} is not in the topic ({partition.begin} to {partition.end})")
        record = self._broker.read(place, offset)
        if record is None:
            if place in self._ended:
                return None
            record = end_of(place, offset)
            self._ended.add(place)
        else:
            self._ended.discard(place)
        self._next[place] = after(record)
        return record


def refuse_absent(broker: Broker, topic: str) -> None:
    """Raise TopicAbsent when there is no ``topic``."""
    if topic not in broker.topics:
        raise TopicAbsent(f"topic {topic} does not exist")
