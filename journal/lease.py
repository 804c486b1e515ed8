"""One controller per collection: a lease in the control topic, kept by a heartbeat and enforced by Kafka.

The record is for people: it tells a second controller whom to wait for. What keeps two controllers apart is the
transactional producer behind the writer: taking the lease fences every writer that held it before, so a controller
that was thought dead cannot write any more.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..errors import Refused, Unavailable
from ..executor import Daemon, Threads
from ..failpoints import hit
from ..log.port import Encodable, Log, Table, Writer
from ..schemas.topics import control_topic
from .controller import ControllerRecord, controller_key
from .guard import GuardedWriter
from .reading import known, require

BEAT_S = 2.0
LEASE_S = 10.0
# The broker looks for transactions past their time-out of 10 s every 10 s.
_CATCH_UP_S = 30.0


def blocker(
    record: ControllerRecord | None, collection: str, *, now_unix_s: float, host: str, urgent: bool = False
) -> str | None:
    """Why a new controller must wait for the one of ``record``, remedy included; None when it need not.

    A record without a beat for ``LEASE_S`` is stale, and so is one of a process of this host that is gone. A beat from
    the future counts by its distance, so that a clock that jumped cannot hold the lease. An ``urgent`` controller waits
    only for another urgent one.
    """
    if record is None or (urgent and not record.urgent):
        return None
    age_s = abs(now_unix_s - record.beat_unix_s)
    if age_s >= LEASE_S or (record.host == host and not _alive(record.pid)):
        return None
    return (
        f"collection {collection!r} is steered by `{record.command}`, process {record.pid} on {record.host}, which "
        f"reported {age_s:.0f} s ago; wait for it or end it, and run this command again {LEASE_S:.0f} s later"
    )


class Lease:
    """The right to steer one collection, held inside ``with``.

    Entering blocks for a few requests and raises Refused while another controller holds the lease. An
    ``urgent`` controller takes the lease from one that is not: Kafka fences that one as if it had been killed, and its
    command can be run again. Inside, a thread reports every ``BEAT_S`` seconds. Leaving removes the record.
    """

    def __init__(
        self,
        config: Config,
        collection: str,
        control: Table,
        log: Log,
        *,
        command: str,
        urgent: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        threads: Threads = Daemon,
    ) -> None:
        self._config = config
        self._collection = collection
        self._control = control
        self._log = log
        self._clock = clock
        self._urgent = urgent
        self._identity = {
            "instance": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "command": command,
            "urgent": urgent,
        }
        self._writer: Writer | None = None
        self._lost: Refused | None = None
        self._stop = threading.Event()
        self._beats = threads(f"lease-{collection}")

    def __enter__(self) -> Self:
        self._control.sync()
        record = require(self._control, controller_key(self._collection), ControllerRecord)
        host = str(self._identity["host"])
        now_unix_s = self._clock.unix_s()
        reason = blocker(record, self._collection, now_unix_s=now_unix_s, host=host, urgent=self._urgent)
        if reason is not None:
            raise Refused(reason)
        self._writer = self._log.writer(self._config.namespace, self._collection)
        try:
            self._beat()
        except BaseException:
            self._writer.close()
            raise
        hit("controller.leased")
        self._beats.submit(self._run)
        try:
            self._catch_up()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def writer(self) -> Writer:
        """The one writer of this collection's records; only inside ``with``. It writes over nothing unknown."""
        return GuardedWriter(self._held(), self._control)

    def _held(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("the lease is not held")
        return self._writer

    def write(self, records: Mapping[str, Encodable | None]) -> None:
        """Write all of ``records`` or none. Raises Refused when another controller has taken over, or a later
        version wrote one of them; Unavailable.
        """
        self.check()
        self.writer.write(records)

    def check(self) -> None:
        """Raise Refused if another controller has taken over. Long work calls this now and then."""
        if self._lost is not None:
            raise self._lost

    def _catch_up(self) -> None:
        """Wait until the table shows our own beat, and with it every earlier record.

        The controller that held the lease before may have written until Kafka fenced it. And if a controller of another
        collection died inside a transaction, later commits become visible only once the broker has ended it.
        """
        self._control.wait_for(lambda: self._lost is not None or self._is_shown(), _CATCH_UP_S)
        self.check()
        if not self._is_shown():
            raise Unavailable(
                f"what was written to {control_topic(self._config.namespace)} cannot be read within "
                f"{_CATCH_UP_S:.0f} s, because of a transaction that is still open there; run this command again"
            )

    def _is_shown(self) -> bool:
        record = known(self._control, controller_key(self._collection), ControllerRecord)
        return record is not None and record.instance == self._identity["instance"]

    def _leave(self) -> None:
        self._stop.set()
        self._beats.shutdown()
        try:
            if self._lost is None:
                self._held().write({controller_key(self._collection): None})
        except (Refused, Unavailable):
            pass  # the work is done, and the record expires without us
        finally:
            self._held().close()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self._beat()
            except Refused as error:
                self._lost = error
                return
            except Unavailable:
                continue  # the record goes stale while Kafka is away; Kafka still fences, so going on is safe

    def _beat(self) -> None:
        record = ControllerRecord.model_validate({**self._identity, "beat_unix_s": self._clock.unix_s()})
        self._held().write({controller_key(self._collection): record})


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it lives, as another user
    return True
