"""Opening a pipeline: lazy imports, lazy connections, clear refusals."""

from __future__ import annotations

import subprocess
import sys

import pytest
import vecferry
from vecferry.config import load_config
from vecferry.errors import ConfigError, InvalidRecord, Unavailable
from vecferry.reads.backend import split_without_record
from vecferry.reads.route import whole

pytestmark = pytest.mark.slow


def document(**changes: object) -> dict[str, object]:
    return {
        "namespace": "shop",
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "stores": {
            "old": {"kind": "pgvector", "url": "postgresql://127.0.0.1:1/none"},
            "new": {"kind": "lancedb", "uri": "/nonexistent"},
        },
        "collections": {
            "products": {
                "dimension": 2,
                "metric": "dot",
                "space": {"model": "m", "version": "1"},
                "partitions": 1,
                "in": {"old": {"table": "a"}, "new": {"table": "b"}},
            }
        },
        "migrations": {"products": {"from": "old", "to": "new"}},
        **changes,
    }


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_client() -> None:
    assert not modules_after("import vecferry") & {
        "confluent_kafka",
        "numpy",
        "pydantic",
        "psycopg",
        "lancedb",
        "pyarrow",
    }


def test_making_readers_imports_no_store_client_and_starts_nothing() -> None:
    code = (
        f"import threading, vecferry\npipeline = vecferry.open({document()!r})\n"
        "pipeline.reader('products', open_timeout_s=0)\n"
        "assert threading.active_count() == 1, threading.enumerate()\npipeline.close()"
    )
    assert not modules_after(code) & {"psycopg", "lancedb", "pyarrow", "rich"}


def test_everything_exported_is_there() -> None:
    assert [name for name in vecferry.__all__ if not hasattr(vecferry, name)] == []
    assert vecferry.__version__[0].isdigit()
    assert set(vecferry.__all__) <= set(dir(vecferry))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vecferry.nothing  # type: ignore[attr-defined]


def test_without_a_record_the_source_or_the_only_store_is_read() -> None:
    assert split_without_record(load_config(document()), "products") == whole("old")
    config = document(migrations={})
    with pytest.raises(ConfigError, match=r"lies in old, new .* add \[migrations.products\]"):
        split_without_record(load_config(config), "products")
    del config["collections"]["products"]["in"]["old"]  # type: ignore[index]
    assert split_without_record(load_config(config), "products") == whole("new")


def test_an_unknown_collection_is_refused_by_the_nearest_name() -> None:
    with vecferry.open(document()) as pipeline:
        for make in (pipeline.reader, pipeline.async_reader, pipeline.publisher):
            with pytest.raises(ConfigError, match="did you mean 'products'"):
                make("product")


def test_an_async_reader_takes_as_many_reads_at_once_as_asked() -> None:
    with vecferry.open(document()) as pipeline:
        assert pipeline.async_reader("products", max_reads=3)._executor._max_workers == 3
        with pytest.raises(InvalidRecord, match="max_reads: 0 reads at once; give 1 to 10000"):
            pipeline.async_reader("products", max_reads=0)


def test_kafka_absent_is_said_in_one_line_within_the_time_out() -> None:
    with vecferry.open(document()) as pipeline:
        with pytest.raises(Unavailable) as caught:
            pipeline.reader("products", open_timeout_s=0).get(["a"], timeout=1.0)
        assert "Kafka at 127.0.0.1:1 does not answer" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_closed_pipeline_says_so() -> None:
    pipeline = vecferry.open(document())
    reader = pipeline.reader("products", open_timeout_s=0)
    pipeline.close()
    pipeline.close()
    for work in (
        lambda: pipeline.reader("products"),
        lambda: pipeline.publisher("products"),
        lambda: reader.get(["a"]),
    ):
        with pytest.raises(Unavailable, match="closed"):
            work()
