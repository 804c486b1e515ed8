"""Whether a reader's configuration, and the live topic, are those that were enrolled."""

from __future__ import annotations

import threading

from ..errors import Refused
from ..journal.collection import collection_key
from ..journal.enrolled import refuse_other_configuration
from ..journal.topic_watch import TopicWatch, Watched
from ..log.port import Table
from ..schemas.collection import Collection


class Enrolled:
    """Of one collection, shared by all readers of it; thread-safe."""

    def __init__(self, collection: Collection, watch: TopicWatch) -> None:
        self._collection = collection
        self._watch = watch
        self._lock = threading.Lock()
        self._compared = False
        self._problem: Refused | None = None

    def compared(self, control: Table) -> Table:
        """``control``, once the configuration was found to be what was enrolled. Raises Refused if it is not.

        What was found once stays: a later record must not stop a reader that serves. Does not block.
        """
        if self._compared or control.get(collection_key(self._collection.name)) is None:
            return control
        refuse_other_configuration(control, self._collection)
        with self._lock:
            if not self._compared:
                self._compared = True
                self._watch.watch(
                    Watched(
                        collection=self._collection.name,
                        partitions=self._collection.partitions,
                        who="",
                        reached=dict,
                        refuse=self._note,
                    )
                )
        return control

    def problem(self) -> Refused | None:
        """Why a write token means nothing any more: the live topic is another one. None while all is well."""
        return self._problem

    def _note(self, problem: Refused) -> None:
        self._problem = problem
