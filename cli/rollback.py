"""``vecferry rollback``."""

from __future__ import annotations

import argparse

from .cutover import move
from .options import add_collection, add_dry_run
from .output import Console, Result

HELP = "move all reads back to the source, if it keeps up"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="go back although the source is behind or its worker silent; each reader still waits until the source "
        "has applied what that reader has seen",
    )
    add_dry_run(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Move the route to 0 %; the one gate is that the source is ready."""
    return move(args, console, 0, f"rollback {args.collection}", force=args.force)
