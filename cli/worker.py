"""``vecferry worker``."""

from __future__ import annotations

import argparse
import signal
from threading import Event
from types import FrameType

from ..clock import SYSTEM_CLOCK
from ..consumers.service import run_worker
from ..heap import keep_freed_buffers
from .options import config_of
from .output import Console, Result
from .shown import facts_table

HELP = "apply events to one store until SIGTERM; run up to one per partition"

_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--store", metavar="NAME", required=True, help="a [stores.NAME] of the configuration")
    parser.add_argument(
        "--collection",
        metavar="NAME",
        action="append",
        default=[],
        dest="collections",
        help="only this collection (may be repeated; default: all that lie in the store)",
    )


def run(args: argparse.Namespace, console: Console) -> Result:
    """Work until a signal; then drain and leave. SIGTERM ends with 0, SIGINT with 130."""
    config = config_of(args)
    keep_freed_buffers()
    stop = Event()
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        run_worker(config, args.store, args.collections, SYSTEM_CLOCK, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    facts = {"store": args.store, "collections": ", ".join(args.collections) or "all that lie in it"}
    return Result(
        data={"store": args.store, "collections": args.collections, "drained": True},
        tables=(facts_table("Drained and stopped", facts),),
        exit_code=_INTERRUPTED if signal.SIGINT in received else 0,
    )
