"""What a fork hands to the child and the child must not use: sockets that it shares with its parent, and clients whose
threads exist in the parent alone.

Whatever owns such a thing has a :class:`Home`, and asks it before anything else, even before it takes a lock: a lock
that a thread of the parent held at the fork is never released in the child.
"""

from __future__ import annotations

import os
import threading
import weakref

from .errors import Forked

_owners: weakref.WeakSet[object] = weakref.WeakSet()
_locks: weakref.WeakSet[ModuleLock] = weakref.WeakSet()
_inherited: list[object] = []  # collecting a client would say goodbye in the parent's name, or wait for its threads


class Home:
    """The process in which ``owner`` was opened; ``what`` is its name in messages."""

    __slots__ = ("_pid", "_what")

    def __init__(self, what: str, owner: object) -> None:
        self._what = what
        self._pid = os.getpid()
        _owners.add(owner)

    @property
    def left(self) -> bool:
        """Whether this is another process: a child, which must leave everything as it is."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise Forked in any other process than this one."""
        if os.getpid() != self._pid:
            raise Forked(
                f"{self._what} belongs to another process, {self._pid}, and its connections do not survive a fork; "
                f"open a pipeline in process {os.getpid()}: in post_fork of gunicorn, in worker_process_init of "
                "Celery, or in the function that the child runs"
            )


class ModuleLock:
    """A reentrant lock that a module has for all its objects; in a child it is free.

    Otherwise a thread of the parent that held it at the fork would stop the objects that the child makes itself.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _free(self) -> None:
        self._lock = threading.RLock()


def _begin_child() -> None:
    _inherited.extend(_owners)
    for lock in _locks:
        lock._free()


os.register_at_fork(after_in_child=_begin_child)
