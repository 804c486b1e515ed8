"""What the real rules are run through, and the least number of states each must reach, so that none shrinks unseen.

Every scenario publishes all patterns of upserts and deletes, over a source with and without a row that predates the
pipeline.
"""

from __future__ import annotations

from ordering_model.model import Scenario
from ordering_model.state import Budget

CRASH, ZOMBIE, REWIND = Budget(crashes=1), Budget(zombies=1), Budget(rewinds=1)
CRASH_AND_ZOMBIE = Budget(crashes=1, zombies=1)
EVERY_FAULT = Budget(crashes=1, zombies=1, rewinds=1)

QUICK = (
    (Scenario(name="first migration, four writes", writes=4), 10_000),
    (Scenario(name="first migration, redelivery to each", source=REWIND, target=REWIND), 25_000),
    (Scenario(name="replay", replay=True), 1_000),
    (Scenario(name="replay, chunk scanned twice", replay=True, rescans=1), 5_000),
    (Scenario(name="replay, dead letter at the source", replay=True, letters=True), 5_000),
)

FULL = (
    (Scenario(name="source by itself, every fault", runs=0, source=EVERY_FAULT), 10_000),
    (Scenario(name="source by itself, dead letter", runs=0, source=CRASH_AND_ZOMBIE, letters=True), 30_000),
    (Scenario(name="first migration, crash of each", source=CRASH, target=CRASH), 80_000),
    (Scenario(name="first migration, two runs", runs=2), 20_000),
    (Scenario(name="first migration, chunk scanned twice", rescans=1), 10_000),
    (Scenario(name="first migration, zombie of the source", source=ZOMBIE), 30_000),
    (Scenario(name="first migration, zombie of the target", source=CRASH, target=ZOMBIE), 100_000),
    (Scenario(name="first migration, dead letter, crash", source=CRASH, letters=True), 100_000),
    (Scenario(name="first migration, offsets tampered with", target=Budget(resets=1, restores=1)), 100_000),
    (Scenario(name="replay, every fault of the source", replay=True, source=EVERY_FAULT), 100_000),
    (Scenario(name="replay, every fault of the further store", replay=True, target=EVERY_FAULT), 100_000),
    (Scenario(name="replay, chunk scanned twice, crash", replay=True, rescans=1, source=CRASH, target=CRASH), 30_000),
    (Scenario(name="replay, dead letter, zombie", replay=True, source=ZOMBIE, letters=True), 100_000),
    (Scenario(name="replay, two runs, dead letter", replay=True, runs=2, letters=True), 300_000),
)
