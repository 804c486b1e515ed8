"""The entry point: parse, run one command, turn errors into lines and exit codes.

Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 refused by a gate or a preflight · 4 not known yet ·
130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from types import ModuleType

from ..errors import ConfigError, Inconclusive, Refused, Transient, VecferryError
from .options import Parser, UsageError, common
from .output import Console, Format

DONE, FAILED, USAGE, REFUSED, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130

# In the order in which a migration uses them.
_NAMES = (
    "init",
    "enrol",
    "doctor",
    "plan",
    "worker",
    "start",
    "cancel",
    "status",
    "verify",
    "cutover",
    "rollback",
    "replay",
    "dlq",
    "topics",
)

# What these have done is not done again when they are given once more.
_GO_ON = frozenset(("enrol", "start", "replay"))

# Each command is a module of its name: HELP, configure(parser), run(args, console) -> Result.
COMMANDS: dict[str, ModuleType] = {name: import_module(f".{name}", __package__) for name in _NAMES}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (of the process when None) and return its exit code. Never raises VecferryError."""
    try:
        args = make_parser().parse_args(argv)
    except UsageError as mistake:
        console = Console("json" if _asks_for_json(sys.argv[1:] if argv is None else argv) else "table")
        if console.fmt == "table":
            console.stderr.write(mistake.usage)
        return _fail(console, "usage", (str(mistake),), USAGE)
    except SystemExit as left:  # argparse has printed help
        return left.code if isinstance(left.code, int) else USAGE
    console = Console(args.output)
    _log_to_stderr(console.fmt, verbose=args.command == "worker", debug=args.debug)
    try:
        result = COMMANDS[args.command].run(args, console)
        console.emit(result)
        return int(result.exit_code)
    except VecferryError as error:
        code = _fail(console, type(error).__name__.lower(), _lines(error), exit_code(error))
        if args.debug:
            traceback.print_exc(file=console.stderr)
        return code
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if args.command in _GO_ON else ""
        return _fail(console, "interrupted", (f"interrupted{goes_on}",), INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout left; a second failure while the interpreter closes it would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  the last line of defence: said, not swallowed
        problem = f"internal error: {type(error).__name__}: {error}; --debug shows where"
        code = _fail(console, "internal", (problem,), FAILED)
        if args.debug:
            traceback.print_exc(file=console.stderr)
        return code


def _fail(console: Console, kind: str, problems: Sequence[str], code: int) -> int:
    console.fail(kind, problems, code)
    return code


def _asks_for_json(argv: Sequence[str]) -> bool:
    """By the words alone: they could not be parsed."""
    return "--output=json" in argv or ("--output", "json") in pairwise(argv)


def exit_code(error: VecferryError) -> int:
    """The exit code that stands for ``error``."""
    match error:
        case ConfigError():
            return USAGE
        case Refused():
            return REFUSED
        case Inconclusive():
            return INCONCLUSIVE
        case _:
            return FAILED


def _lines(error: VecferryError) -> Sequence[str]:
    """One line per problem. What a server said may have line breaks of its own: they are not ours."""
    match error:
        case Refused():
            found = error.problems
        case ConfigError() | Inconclusive():
            found = tuple(str(error).splitlines())
        case Transient():
            found = (f"{error}; this may pass: run the same command again",)
        case _:
            found = (str(error),)
    return [" ".join(line.split()) for line in found] or [type(error).__name__]


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; raises UsageError for one that is wrong."""
    parser = Parser(
        prog="vecferry",
        description="Move a live vector database to another one: no downtime, no stale results, no lost write.",
        epilog="exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 not known yet, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"vecferry {version('vecferry')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP, parents=[common()])
        module.configure(command)
    return parser


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        trace = {"trace": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps({**fields, "message": record.getMessage(), **trace}, ensure_ascii=False)


def _log_to_stderr(fmt: Format, *, verbose: bool, debug: bool) -> None:
    """Lifecycle of a worker, warnings of everything else. The Kafka client repeats what its errors say: only asked."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(_JsonLines() if fmt == "json" else plain)
    logging.basicConfig(level=logging.INFO if verbose or debug else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vecferry.kafka").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    if verbose:  # what a worker waits for; another command says it when it gives up
        logging.getLogger("vecferry.kafka.contact").setLevel(logging.WARNING)
