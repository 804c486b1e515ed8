"""Trying things in a forked child."""

from __future__ import annotations

import gc
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave in the child: its error by name ("" for none), what it said or returned, how long it took."""

    error: str
    said: str
    took_s: float


def in_child(calls: Mapping[str, Work], timeout_s: float = 60.0) -> dict[str, Answer]:
    """Make ``calls`` one after the other in one forked child, which then collects garbage and ends.

    The child is one of ``multiprocessing``. Fails when it does not end well in time.
    """
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_try, args=(calls, there))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of every fork of a process that has threads
        child.start()
    there.close()
    try:
        assert here.poll(timeout_s), "the child hangs"
        try:
            answers: dict[str, Answer] = here.recv()
        except EOFError:
            answers = {}
        child.join(timeout_s)
        assert child.exitcode == 0, f"the child ended with {child.exitcode}"
    finally:
        if child.is_alive():
            child.kill()
            child.join()
    return answers


def _try(calls: Mapping[str, Work], answers: Connection) -> None:
    found = {name: _answer(work) for name, work in calls.items()}
    gc.collect()
    answers.send(found)


def _answer(work: Work) -> Answer:
    began_s = time.monotonic()
    try:
        error, said = "", repr(work())
    except Exception as raised:  # noqa: BLE001  it is what is asked for
        error, said = type(raised).__name__, str(raised)
    return Answer(error, said, time.monotonic() - began_s)


def refused_at_once(answers: Mapping[str, Answer]) -> list[str]:
    """The calls that were not: those that gave anything but Forked, or took long over it."""
    return [f"{name}: {answer}" for name, answer in answers.items() if answer.error != "Forked" or answer.took_s > 2.0]
