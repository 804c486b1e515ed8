"""The entry point: parse, run one command, turn errors into lines and exit codes.

Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 refused by a gate or a preflight · 4 not known yet ·
130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from ..errors import ConfigError, Inconclusive, Refused, Transient, VecferryError
from .options import common
from .output import Console

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

# Each command is a module of its name: HELP, configure(parser), run(args, console) -> Result.
COMMANDS: dict[str, ModuleType] = {name: import_module(f".{name}", __package__) for name in _NAMES}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (of the process when None) and return its exit code. Never raises VecferryError."""
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as left:  # argparse has printed help or the mistake
        return left.code if isinstance(left.code, int) else USAGE
    console = Console(args.output)
    _log_to_stderr(verbose=args.command == "worker", debug=args.debug)
    try:
        result = COMMANDS[args.command].run(args, console)
        console.emit(result)
        return int(result.exit_code)
    except VecferryError as error:
        for line in _lines(error):
            console.say(f"vecferry: {line}")
        if args.debug:
            traceback.print_exc(file=console.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        console.say("vecferry: interrupted; the same command goes on from here")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout left; a second failure while the interpreter closes it would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  the last line of defence: said, not swallowed
        console.say(f"vecferry: internal error: {type(error).__name__}: {error}; --debug shows where")
        if args.debug:
            traceback.print_exc(file=console.stderr)
        return FAILED


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
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
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


def _log_to_stderr(*, verbose: bool, debug: bool) -> None:
    """Lifecycle of a worker, warnings of everything else. The Kafka client repeats what its errors say: only asked."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose or debug else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vecferry.kafka").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    if verbose:  # what a worker waits for; another command says it when it gives up
        logging.getLogger("vecferry.kafka.contact").setLevel(logging.WARNING)
