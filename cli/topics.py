"""``vecferry topics``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import closing
from typing import assert_never

from ..config import Config
from ..journal.reading import read_all
from ..journal.record import Known, Unknown
from ..journal.run import RunRecord, run_key
from ..log.port import Log
from ..schemas.topics import control_topic, dlq_topic, events_topic, progress_topic, snapshot_topic
from .options import add_collection, config_of, log_of
from .output import Console, Result, Table

HELP = "describe the topics of a collection"

_MS_PER_H = 3_600_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    add_collection(parser)


def run(args: argparse.Namespace, console: Console) -> Result:
    """One row per topic, missing ones included."""
    config = config_of(args)
    config.collection(args.collection)
    with log_of(config) as log:
        topics = _facts(log, _purposes(config, args.collection, log))
    missing = any(not topic["exists"] for topic in topics)
    step = f"vecferry enrol {args.collection}" if missing else f"vecferry status {args.collection}"
    return Result(data={"collection": args.collection, "topics": topics}, tables=(_table(topics),), next_steps=(step,))


def _facts(log: Log, purposes: Mapping[str, str]) -> list[dict[str, object]]:
    found = log.admin.topics(list(purposes))
    topics: list[dict[str, object]] = []
    for name, purpose in purposes.items():
        if name not in found:
            topics.append({"topic": name, "purpose": purpose, "exists": False})
            continue
        offsets = log.admin.offsets(name, found[name].partitions)
        topics.append(
            {
                "topic": name,
                "purpose": purpose,
                "exists": True,
                "partitions": found[name].partitions,
                "cleanup_policy": found[name].settings.get("cleanup.policy"),
                "retention_h": _retention_h(found[name].settings),
                "records": sum(offsets.end) - sum(offsets.begin),
            }
        )
    return topics


def _purposes(config: Config, collection: str, log: Log) -> dict[str, str]:
    namespace = config.namespace
    control = control_topic(namespace)
    purposes = {
        events_topic(namespace, collection): "every write",
        dlq_topic(namespace, collection): "dead letters",
        control: "routes, runs, migrations",
        progress_topic(namespace): "how far stores are",
    }
    if log.admin.topics([control]):
        with closing(log.table(control)) as table:
            table.sync()
            for run, found in sorted(read_all(table, run_key(collection), RunRecord).items()):
                purposes[snapshot_topic(namespace, collection, run)] = f"run {run}, {_described(found)}"
    return purposes


def _described(found: Known[RunRecord] | Unknown) -> str:
    match found:
        case Known(record=run):
            return f"{run.state}, {run.rows} rows"
        case Unknown():
            return f"written by a later version ({found.problem})"
        case _:
            assert_never(found)


def _retention_h(settings: Mapping[str, str]) -> float | None:
    """Hours; None for no bound. A compacted topic keeps the newest record of every key, whatever retention.ms says."""
    retention_ms = int(settings.get("retention.ms", "-1"))
    bounded = retention_ms >= 0 and "delete" in settings.get("cleanup.policy", "delete")
    return retention_ms / _MS_PER_H if bounded else None


def _table(topics: list[dict[str, object]]) -> Table:
    columns = ("topic", "purpose", "exists", "partitions", "cleanup_policy", "retention_h", "records")
    rows = [
        [("yes" if topic["exists"] else "no") if column == "exists" else topic.get(column) for column in columns]
        for topic in topics
    ]
    return Table(title="", columns=columns, rows=rows)
