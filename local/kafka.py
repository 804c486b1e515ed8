"""Apache Kafka as one KRaft node: resolved through Maven, run by the installed Java, bound to 127.0.0.1."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ..errors import Unavailable
from . import paths, process

KAFKA_VERSION = "4.4.0"  # a test keeps pom.xml and docker-compose.yml at the same version
POM = Path(__file__).with_name("pom.xml")
JAVA_AT_LEAST = 17
INSTEAD = "or set VECFERRY_KAFKA to the address of a running Kafka"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """A running broker: ``bootstrap`` is its ``host:port``."""

    bootstrap: str
    pid: int
    directory: Path


def start_kafka(name: str | None = None, *, say: Say = lambda _line: None) -> Kafka:
    """The broker of the set ``name``, started if it does not run yet; it outlives this process.

    Blocks until the broker answers a metadata request: about 5 s, and longer the first time, when Maven fetches some
    65 MB. A broker that was killed keeps its data and, if it is still free, its port. Raises ``Unavailable`` naming
    what is missing and the remedy.
    """
    directory = paths.services_dir(name) / "kafka"
    with process.lock(directory):
        running = find_kafka(name)
        if running is not None:
            return running
        java = _java()
        lib = _library(say)
        process.stop_unrecorded(_marker(directory), signal.SIGTERM)
        return _launch(directory, java=java, lib=lib, say=say)


def check_kafka(name: str | None = None) -> None:
    """Raise ``Unavailable`` naming the program that :func:`start_kafka` would miss, and the remedy."""
    if find_kafka(name) is None:
        _java()
        if not _lib().is_dir():
            _maven()


def find_kafka(name: str | None = None) -> Kafka | None:
    """The broker of the set ``name`` if its process is alive."""
    directory = paths.services_dir(name) / "kafka"
    server = process.find(directory / "state.json")
    return None if server is None else _describe(directory, server)


def stop_kafka(name: str | None = None) -> bool:
    """Stop the broker of the set ``name`` and keep its data. Blocks until it has ended; false when none ran."""
    directory = paths.services_dir(name) / "kafka"
    with process.lock(directory):
        server = process.find(directory / "state.json")
        if server is None:
            return False
        process.stop(server, signal.SIGTERM)
        return True


def _describe(directory: Path, server: process.Server) -> Kafka:
    return Kafka(bootstrap=f"127.0.0.1:{server.port}", pid=server.pid, directory=directory)


def _marker(directory: Path) -> tuple[str, ...]:
    return ("kafka.Kafka", str(directory / "server.properties"))


def _launch(directory: Path, *, java: str, lib: Path, say: Say) -> Kafka:
    state, log = directory / "state.json", directory / "kafka.log"
    before = process.read_state(state)
    port = process.pick_port(None if before is None else before.port)
    (directory / "server.properties").write_text(_properties(port=port, controller_port=process.pick_port()))
    if not (directory / "data" / "meta.properties").exists():
        _format(directory, java=java, lib=lib)
    say(f"starting Kafka {KAFKA_VERSION} on 127.0.0.1:{port}")
    argv = [
        # One collector thread and the quick compiler alone: the broker shares a small machine with what uses it.
        *(java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *(
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Djava.awt.headless=true",
            "-cp",
            f"{lib}/*",
        ),
        *_marker(directory),
    ]
    server = process.spawn(argv, marker=_marker(directory), port=port, state=state, log=log, env=os.environ)
    process.wait_ready(server, lambda: _answers(port), what="Kafka", log=log)
    return _describe(directory, server)


def _properties(*, port: int, controller_port: int) -> str:
    """``server.properties`` of a single node. Paths in it are relative to its folder, where the broker runs."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "data",
        # A topic exists because preflight made it with the right settings, never because somebody named it.
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may come back only when its old session is over; the default is 9 s.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        # What a killed controller left open shall not stay so for ten seconds more than it may.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _format(directory: Path, *, java: str, lib: Path) -> None:
    """Make the data folder. One without its identity is the rest of a killed attempt and holds nothing."""
    shutil.rmtree(directory / "data", ignore_errors=True)
    # Written with "=": an id that begins with "-" would be taken for an option.
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        [
            *(java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{lib}/*", "kafka.tools.StorageTool"),
            *("format", f"--cluster-id={cluster_id}", "--config", str(directory / "server.properties")),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"Kafka could not format {directory / 'data'}: {(done.stderr or done.stdout).strip()}")


def _answers(port: int) -> bool:
    """True when the broker answers metadata and names itself. Blocks up to 5 s."""
    try:
        # Asked first, because the client would complain on the terminal about each refused connection.
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        return len(admin.list_topics(timeout=5).brokers) > 0
    except (OSError, KafkaException):
        return False


def _library(say: Say) -> Path:
    """The folder with Kafka's jars, fetched once for all checkouts and moved into place in one step."""
    lib = _lib()
    release = lib.parent
    with process.lock(release):
        if lib.is_dir():
            return lib
        maven = _maven()
        say(f"fetching Kafka {KAFKA_VERSION} through Maven into {release} (about 65 MB, once)")
        fresh = release / "lib.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = subprocess.run(
            [
                *(maven, "--batch-mode", "--quiet", "--file", str(POM)),
                *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"),
            ],
            cwd=release,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not list(fresh.glob(f"kafka_*-{KAFKA_VERSION}.jar")):
            reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), done.stderr.strip())
            raise Unavailable(f"Maven could not fetch Kafka {KAFKA_VERSION}; check the network, {INSTEAD}: {reason}")
        fresh.rename(lib)
        return lib


def _lib() -> Path:
    return paths.home() / f"kafka-{KAFKA_VERSION}" / "lib"


def _maven() -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"Maven is missing; install it (apt install maven, brew install maven), {INSTEAD}")
    return maven


def _java() -> str:
    """The path of a Java that can run Kafka: from ``JAVA_HOME``, else from the search path."""
    remedy = f"install it (apt install openjdk-17-jre-headless, brew install openjdk), {INSTEAD}"
    java_home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(java_home) / "bin")) if java_home else shutil.which("java")
    if java is None:
        raise Unavailable(f"Java {JAVA_AT_LEAST} or newer is missing; {remedy}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    major = java_major(said)
    if major is None or major < JAVA_AT_LEAST:
        raise Unavailable(f"{java} is Java {major or 'of an unknown version'}, not {JAVA_AT_LEAST} or newer; {remedy}")
    return java


def java_major(version_output: str) -> int | None:
    """The major version in what ``java -version`` prints; ``None`` when it cannot be read. ``1.8`` counts as 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', version_output)
    return None if found is None else int(found.group(1))
