"""The context of an enrolled collection: opened, and refused when something changed under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..backfill.context import Context, StoreOpener, make_context, table_topics
from ..clock import SYSTEM_CLOCK, Clock
from ..config import Config
from ..errors import Refused
from ..executor import OneThread, Threads
from ..journal.collection import CollectionRecord, collection_key
from ..journal.reading import require
from ..log.port import Log
from ..schemas.topics import events_topic
from .gates import GateResult, Verdict
from .preflight import collection_checks, live_topic_checks, migration_check, topic_identity_check


@contextmanager
def open_context(
    config: Config,
    collection: str,
    log: Log,
    *,
    checked: bool = True,
    open_store: StoreOpener | None = None,
    clock: Clock = SYSTEM_CLOCK,
    threads: Threads = OneThread,
) -> Iterator[Context]:
    """The context of an enrolled collection, its tables read to their end.

    ``open_store`` takes the place of the configured stores; without ``checked`` it is left to the caller to ask for
    ``require_as_enrolled``. Blocks while the tables are read. Raises ConfigError, Unavailable, or Refused when the
    collection is not enrolled or no longer is what was enrolled: each line with its remedy.
    """
    config.migration(collection)
    topics = (events_topic(config.namespace, collection), *table_topics(config.namespace, collection))
    _require_topics(log, collection, topics)
    with make_context(config, collection, log, open_store=open_store, clock=clock, threads=threads) as context:
        context.sync()
        if checked:
            require_as_enrolled(context)
        yield context


def _require_topics(log: Log, collection: str, names: Sequence[str]) -> None:
    missing = sorted(set(names) - set(log.admin.topics(names)))
    if missing:
        raise Refused(
            f"collection {collection!r} is not enrolled (missing: {', '.join(missing)}); "
            f"run `vecferry enrol {collection}`"
        )


def require_as_enrolled(context: Context) -> None:
    """Raise Refused, one line per problem, when the topic or the configuration changed under the collection.

    Asked once more under the lease: another controller may have enrolled it anew in between. Blocks for two requests.
    """
    problems = (*_problems_of_configuration(context), *_problems_of_topic(context))
    if problems:
        raise Refused(problems)


def require_source_as_enrolled(context: Context) -> tuple[str, ...]:
    """Raise Refused when reads cannot go back to the source as configured; other problems are returned, a line each.

    What is wrong with the live topic, or with the target, is no reason to stay on the target. Blocks for two requests.
    """
    record = require(context.control, collection_key(context.name), CollectionRecord)
    problems = _problems_of_configuration(context)
    if record is None or record.stores[0] != context.source or _failed(collection_checks(record, context.collection)):
        raise Refused(problems)
    return (*problems, *_problems_of_topic(context))


def _problems_of_configuration(context: Context) -> tuple[str, ...]:
    record = require(context.control, collection_key(context.name), CollectionRecord)
    stores = (context.source, context.target)
    return _failed((*collection_checks(record, context.collection), migration_check(record, context.name, stores)))


def _problems_of_topic(context: Context) -> tuple[str, ...]:
    topic = context.log.admin.topics([context.events]).get(context.events)
    record = require(context.control, collection_key(context.name), CollectionRecord)
    checks = (
        *live_topic_checks(topic, context.events, context.collection, context.config.gates),
        topic_identity_check(record, context.events, context.log.admin.topic_id(context.events)),
    )
    return _failed(checks)


def _failed(checks: Sequence[GateResult]) -> tuple[str, ...]:
    return tuple(check.line() for check in checks if check.verdict is not Verdict.PASS)
