"""One deadline for everything that a read does."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """An instant on ``clock``, in monotonic seconds."""

    clock: Clock
    at_s: float

    def left_s(self) -> float:
        """Seconds that remain; 0 when it has passed."""
        return max(0.0, self.at_s - self.clock.monotonic_s())

    def share(self, part: float) -> Deadline:
        """A deadline after ``part`` (0 to 1) of what is left, so that the rest remains for another try."""
        return Deadline(clock=self.clock, at_s=self.clock.monotonic_s() + self.left_s() * part)

    def at_most(self, seconds: float) -> Deadline:
        """This deadline, or ``seconds`` from now if that is sooner."""
        return Deadline(clock=self.clock, at_s=min(self.at_s, self.clock.monotonic_s() + seconds))


def deadline_in(seconds: float, clock: Clock) -> Deadline:
    """The deadline ``seconds`` from now."""
    return Deadline(clock=clock, at_s=clock.monotonic_s() + seconds)
