"""Which key of the control topic holds which record. Pure.

collection/<c>            CollectionRecord
route/<c>                 Route
migration/<c>             MigrationRecord
run/<c>/<run>             RunRecord
plan/<c>/<run>/<page>     PlanPage
chunk/<c>/<run>/<chunk>   ChunkDone
group/<c>/<store>         GroupRecord
verify/<c>                VerifyRecord
controller/<c>            ControllerRecord
"""

from __future__ import annotations

from .collection import CollectionRecord
from .controller import ControllerRecord
from .migration import MigrationRecord, VerifyRecord
from .record import Record
from .route import Route
from .run import ChunkDone, GroupRecord, PlanPage, RunRecord

CONTROL: dict[str, type[Record]] = {
    "collection": CollectionRecord,
    "route": Route,
    "migration": MigrationRecord,
    "run": RunRecord,
    "plan": PlanPage,
    "chunk": ChunkDone,
    "group": GroupRecord,
    "verify": VerifyRecord,
    "controller": ControllerRecord,
}


def kind_of(key: str) -> type[Record] | None:
    """The kind of the record under ``key`` of the control topic; None for a key that this version never writes."""
    return CONTROL.get(key.partition("/")[0])
