"""Options that several commands share, and the configuration that they name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NoReturn

from ..config import Config, load_config
from ..log.kafka.log import KafkaLog
from ..log.port import Log

DEFAULT_CONFIG = "vecferry.toml"


class UsageError(Exception):
    """The command line could not be parsed; ``usage`` is what argparse says of its form."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print and end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"error: {message}", self.format_usage())


def common(*, nested: bool = False) -> Parser:
    """The options of every command, as a parent parser. ``nested``: below a command that has them already."""
    parser = Parser(add_help=False)

    def default(value: object) -> object:
        # A default of the inner parser would overwrite what was given to the outer one.
        return argparse.SUPPRESS if nested else value

    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default(os.environ.get("VECFERRY_CONFIG", DEFAULT_CONFIG)),
        help=f"configuration (default: $VECFERRY_CONFIG, else {DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "--output", choices=("table", "json"), default=default("table"), help="form of the data on stdout"
    )
    parser.add_argument(
        "--debug", action="store_true", default=default(False), help="log the Kafka client and show tracebacks"
    )
    return parser


def add_collection(parser: argparse.ArgumentParser) -> None:
    """COLLECTION."""
    parser.add_argument("collection", metavar="COLLECTION", help="a [collections.NAME] of the configuration")


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """--dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be done; change nothing")


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """--timeout."""
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive_s,
        default=float("inf"),
        help="how long to wait for the worker of the target to apply the copy (default: as long as it takes)",
    )


def positive_s(text: str) -> float:
    """A number of seconds above zero."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def config_of(args: argparse.Namespace) -> Config:
    """The configuration that ``--config`` names; raises ConfigError."""
    return load_config(args.config)


@contextmanager
def log_of(config: Config) -> Iterator[Log]:
    """The one way to Kafka of this command, closed on leaving; connects to nothing by itself."""
    with closing(KafkaLog(config.kafka)) as log:
        yield log
