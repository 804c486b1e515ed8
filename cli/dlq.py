"""``vecferry dlq list|show|redrive|discard``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from ..migration.context import open_context
from ..migration.letter_events import event_of
from ..migration.redrive import Redriven, StoredLetter, discard, letters, redrive
from .options import add_collection, add_dry_run, common, config_of, log_of
from .output import Console, Result, Table
from .shown import facts_table

HELP = "list, show, redrive or discard dead letters"

_SHOWN_BYTES = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, help_, takes in (
        ("list", "the unresolved letters", None),
        ("show", "one letter in full", 1),
        ("redrive", "send letters through the store's guard; what is stored, or was written since, is resolved", "*"),
        ("discard", "resolve letters without storing them", "+"),
    ):
        command = actions.add_parser(action, help=help_, description=help_, parents=[common(nested=True)])
        add_collection(command)
        if takes is not None:
            command.add_argument("keys", metavar="KEY", nargs=takes, help="a key of `dlq list` (redrive: default all)")
        if action in ("redrive", "discard"):
            add_dry_run(command)


def run(args: argparse.Namespace, console: Console) -> Result:
    """Look at letters, or resolve them; exit 1 when one could not be redriven."""
    config = config_of(args)
    with log_of(config) as log, open_context(config, args.collection, log) as context:
        found = letters(context, getattr(args, "keys", ()))
        if args.action == "list":
            return _list(args.collection, found)
        if args.action == "show":
            return _show(args.collection, found[0], event_of(found[0], context.collection, live_topic=context.events))
        if args.dry_run:
            return _would(args, found)
        done = redrive(context, found) if args.action == "redrive" else discard(context, found)
        return _done(args.collection, done, {letter.key: letter for letter in found})


def _list(collection: str, found: Sequence[StoredLetter]) -> Result:
    rows = [(letter.key, letter.reason) for letter in found]
    letters_table = Table(title=f"Unresolved dead letters of {collection}", columns=("key", "reason"), rows=rows)
    steps = (f"vecferry dlq show {collection} {found[0].key}",) if found else (f"vecferry status {collection}",)
    return Result(
        data={"collection": collection, "letters": [_document(letter) for letter in found]},
        tables=(letters_table, _ways_out(collection)) if found else (letters_table,),
        next_steps=steps,
    )


def _ways_out(collection: str) -> Table:
    rows = [
        ("mend one", "publish the right state of its id; the redrive then resolves the letter"),
        ("store them, once the cause is mended", f"vecferry dlq redrive {collection} [KEY ...]"),
        ("give one up that nobody misses: it is never stored", f"vecferry dlq discard {collection} KEY ..."),
    ]
    return Table(title="Ways out", columns=("to", "run"), rows=rows)


def _would(args: argparse.Namespace, found: Sequence[StoredLetter]) -> Result:
    keys = " ".join(args.keys)
    did, step = {
        "redrive": ("Redriving would send these again", f"vecferry dlq redrive {args.collection} {keys}".rstrip()),
        "discard": ("Discarding would give these up", f"vecferry dlq discard {args.collection} {keys}"),
    }[args.action]
    rows = [(letter.key, letter.reason) for letter in found]
    return Result(
        data={"collection": args.collection, "dry_run": True, "letters": [_document(letter) for letter in found]},
        tables=(Table(title=f"{did}; nothing was changed", columns=("key", "reason"), rows=rows),),
        next_steps=(step,),
    )


def _show(collection: str, letter: StoredLetter, event: dict[str, object]) -> Result:
    value = letter.value
    shown = {
        name.replace("_", " "): json.dumps(what, ensure_ascii=False) if isinstance(what, dict) else what
        for name, what in event.items()
        if what is not None
    }
    facts: dict[str, object] = {
        "key": letter.key,
        "store": letter.origin.store,
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "reason": letter.reason,
        "record key": _readable(letter.record_key),
        **shown,
        "what to do": _advice(collection, letter),
        "value": "none" if value is None else f"{len(value)} bytes, hex {value[:_SHOWN_BYTES].hex()}",
    }
    steps = (f"vecferry dlq redrive {collection} {letter.key}",)
    document = {**_document(letter), "event": event, "value_hex": None if value is None else value.hex()}
    return Result(data={"letter": document}, tables=(facts_table("Dead letter", facts),), next_steps=steps)


def _advice(collection: str, letter: StoredLetter) -> str:
    if letter.id is None:
        return (
            "it names no id: if it was to be a row, publish that row; then "
            f"`vecferry dlq discard {collection} {letter.key}`"
        )
    return (
        f"publish the right state of {letter.id!r} (or delete it) through the application; then "
        f"`vecferry dlq redrive {collection} {letter.key}` resolves the letter"
    )


def _done(collection: str, done: Sequence[Redriven], letters: Mapping[str, StoredLetter]) -> Result:
    left = [result for result in done if not result.resolved]
    rows = [(result.key, "resolved" if result.resolved else "stays", result.result) for result in done]
    return Result(
        data={"collection": collection, "results": list(done)},
        tables=(Table(title="Letters", columns=("key", "state", "result"), rows=rows),),
        problems=tuple(f"{result.key}: {result.result}; {_advice(collection, letters[result.key])}" for result in left),
        next_steps=(f"vecferry dlq show {collection} {left[0].key}",) if left else (f"vecferry status {collection}",),
        exit_code=1 if left else 0,
    )


def _document(letter: StoredLetter) -> dict[str, object]:
    return {
        "key": letter.key,
        "store": letter.origin.store,
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "row": letter.origin.row,
        "reason": letter.reason,
        "record_key": _readable(letter.record_key),
        "value_bytes": None if letter.value is None else len(letter.value),
    }


def _readable(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "backslashreplace")
