"""The command line of the demo."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vecferry.proof.sabotage import KINDS

from .data import CATALOGUE

_COPY_SHARE = 0.6  # of --seconds; the rest is shared by the steps of the route
_ROUTE_STEPS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for. ``rate`` is writes per second over all writers; ``rows`` None = all of the file."""

    data: Path
    rows: int | None
    writers: int
    readers: int
    rate: float
    seconds: float
    seed: int
    report: Path | None
    keep: bool
    sabotage: str | None

    @property
    def copy_s(self) -> float:
        """How long the copy is to take: the rate limit of the backfill follows from it and the number of rows."""
        return self.seconds * _COPY_SHARE

    @property
    def step_s(self) -> float:
        """How long every step of the route serves, at least."""
        return self.seconds * (1 - _COPY_SHARE) / _ROUTE_STEPS


def parse(argv: Sequence[str] | None = None) -> Options:
    """The options in ``argv`` (of the process when None); exits with 2 on a mistake, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="Move a live catalogue from PostgreSQL/pgvector to LanceDB under traffic, kill a worker and the "
        "copy on the way, and check that nothing was lost, stale, resurrected or refused.",
        epilog="exit codes: 0 as promised, 1 a fault was found or too little was exercised, 2 usage, 130 interrupted",
    )
    parser.add_argument("--data", metavar="FILE", type=_file, default=CATALOGUE, help="catalogue (default: 5,000 rows)")
    parser.add_argument("--rows", metavar="N", type=_count, help="only the first N rows of it")
    parser.add_argument("--writers", metavar="N", type=_count, default=2, help="writing threads (default %(default)s)")
    parser.add_argument("--readers", metavar="N", type=_count, default=4, help="reading threads (default %(default)s)")
    parser.add_argument(
        "--rate",
        metavar="PER_SECOND",
        type=_positive,
        default=60.0,
        help="writes per second in all, open loop (%(default)s)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=_positive,
        default=12.0,
        help="how long the copy and the six steps of the route take in all, beside what commands take (%(default)s)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of what is written and read (%(default)s)")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the report as JSON")
    parser.add_argument("--keep", action="store_true", help="keep database, topics and files, and say where they are")
    parser.add_argument("--sabotage", metavar="KIND", choices=KINDS, help=f"break a promise: {', '.join(KINDS)}")
    return Options(**vars(parser.parse_args(argv)))


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return path


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
