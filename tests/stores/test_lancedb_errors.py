"""What Lance's exceptions become, from texts that Lance really wrote and from real failures."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from lancedb.merge import LanceMergeInsertBuilder
from store_data import DIMENSION, PLACEMENT, at, batch, collection
from vecferry.errors import Fatal, Overloaded, Refused, Rejected, Transient, Unavailable, VecferryError
from vecferry.schemas.batch import EventBatch, Op, Outcome
from vecferry.stores.base import Store
from vecferry.stores.lancedb import open as open_store
from vecferry.stores.lancedb.errors import DiskFull, Gone, mapped
from vecferry.stores.lancedb.options import Options
from vecferry.stores.lancedb.table import MERGE_TRIES

pytestmark = pytest.mark.slow

SOURCE = "/a/registry/src/index.crates.io-1949/lance-file-13.0.0/src/writer/structural.rs:258:9"


def s3_text(inner: str) -> str:
    """As lancedb wraps what an object store answered; the retry_timeout of 180 s is a setting."""
    return (
        'Invalid input, Failed to connect to namespace: IO { source: Generic { store: "S3", source: ListRequest { '
        "source: RetryError(RetryErrorImpl { method: GET, uri: Some(http://s3/vectors?list-type=2), retries: 0, "
        "max_retries: 3, elapsed: 2.9ms, retry_timeout: 180s, inner: " + inner + " }) } }, location: Location { file: "
        '"/a/registry/src/lance-io-13.0.0/src/object_store.rs", line: 1506, column: 92 }, backtrace: None }'
    )


def s3_answer(status: int, code: str) -> ValueError:
    return ValueError(s3_text(f'Status {{ status: {status}, body: Some("<Error><Code>{code}</Code>") }}'))


SEEN: list[tuple[Exception, type[VecferryError], str]] = [
    (RuntimeError("lance error: Retryable commit conflict for version 10: This …"), Transient, "another writer"),
    (RuntimeError("lance error: Too many concurrent writers. Attempted 11 times"), Transient, "another writer"),
    (OSError(28, "No space left on device"), DiskFull, "free some disk space"),
    (
        RuntimeError(f"lance error: LanceError(IO): No space left on device (os error 28), {SOURCE}"),
        DiskFull,
        "free some disk space",
    ),
    (OSError(30, "Read-only file system"), Unavailable, "is read-only"),
    (PermissionError(13, "Permission denied"), Unavailable, "may read and write"),
    (FileExistsError(17, "File exists"), Fatal, "is not a directory"),
    (NotADirectoryError(20, "Not a directory: '/somewhere/file/x'"), Fatal, "is not a directory"),
    (OSError(5, "Input/output error"), Unavailable, "its disk does not answer"),
    (s3_answer(404, "NoSuchBucket"), Fatal, "there is no such bucket; make it, or correct the uri"),
    (ValueError('{"error": {"message": "The specified bucket does not exist."}}'), Fatal, "no such bucket"),
    (ValueError(s3_text("BareRedirect")), Fatal, "in another region"),
    (s3_answer(403, "AccessDenied"), Unavailable, "access is denied"),
    (s3_answer(403, "InvalidAccessKeyId"), Unavailable, "access is denied"),
    (s3_answer(403, "SignatureDoesNotMatch"), Unavailable, "access is denied"),
    (s3_answer(503, "SlowDown"), Overloaded, "fewer requests"),
    (ValueError(s3_text("Http(HttpError { kind: Connect, source: … })")), Transient, "does not answer"),
    (ValueError("Invalid input, No object store provider found for scheme: 'foo'\nValid schemes: gs"), Fatal, "foo"),
    (ValueError('Invalid table name ("a/b"): it may contain only alphanumeric characters'), Fatal, "takes no table of"),
    (ValueError("Table 't' was not found"), Fatal, "the table is gone"),
    (RuntimeError("lance error: Not found: data/ab.lance"), Gone, "are gone"),
    (ValueError("Version 3 no longer exists. Was it cleaned up?"), Gone, "are gone"),
    (
        RuntimeError(f"lance error: LanceError(IO): Generic memory error: Invalid range 0..342 for object, {SOURCE}"),
        Fatal,
        "is damaged",
    ),
    (ValueError("Invalid input, file does not appear to be a Lance file (invalid magic: [76])"), Fatal, "is damaged"),
    (RuntimeError("LanceError(Arrow): Invalid argument error: Failed to encode JSON: EOF"), Rejected, "is not JSON"),
    (TypeError("Size of FixedSizeList is not the same. input list: …"), Rejected, "another dimension"),
    (RuntimeError("something that nobody has seen yet"), Fatal, "nobody has seen yet (RuntimeError)"),
    (KeyError("id"), Fatal, "'id' (KeyError)"),
]


@pytest.mark.parametrize(("error", "kind", "sentence"), SEEN, ids=lambda value: str(value)[:40])
def test_the_table_of_errors(error: Exception, kind: type[VecferryError], sentence: str) -> None:
    found = mapped(error, "lancedb table 't' in /somewhere")
    assert type(found) is kind
    assert str(found).startswith("lancedb table 't' in /somewhere: ")
    assert sentence in str(found)
    for raw in (".rs", "backtrace", "retry_timeout", "lance error", "\n"):
        assert raw not in str(found)
    if isinstance(found, Overloaded):
        assert found.retry_after_s > 0


class Stub(BaseHTTPRequestHandler):
    """An object store without the bucket that is asked for."""

    def do_GET(self) -> None:
        body = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><BucketName>vectors</BucketName></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_bucket_that_does_not_exist_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Stub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings = {"ENDPOINT": f"http://127.0.0.1:{server.server_port}", "ALLOW_HTTP": "true", "REGION": "here"}
        for name, value in {**settings, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        store = open_store(Options.model_validate({"uri": "s3://vectors/lance"}), collection(), PLACEMENT)
        with pytest.raises(Fatal, match="there is no such bucket; make it"):
            store.applied()
        server.shutdown()


def test_a_panic_of_lance_is_an_error_with_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As pyo3 has one."""

    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr(LanceMergeInsertBuilder, "execute", panic)
    with pytest.raises(Fatal, match="index out of bounds"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), [])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(Options.model_validate({"uri": str(tmp_path / "lance")}), collection(), PLACEMENT)
    store.create(complete=False)
    return store


def changed(**columns: object) -> EventBatch:
    good = batch([(Op.UPSERT, "a", at(1))])
    values = {name: columns.get(name, getattr(good, name)) for name in EventBatch.__dataclass_fields__}
    return EventBatch(**values)


@pytest.mark.parametrize(
    "bad",
    [
        changed(vectors=np.zeros((1, DIMENSION + 1), np.float32)),
        changed(ids=["\x00vecferry/live/0"]),
        changed(metadata=[b'{"a": ']),
        changed(metadata=[b'{"a": "\xff"}']),
    ],
    ids=["dimension", "reserved id", "not JSON", "not UTF-8"],
)
def test_what_can_never_be_stored_is_rejected_and_nothing_is_written(store: Store, bad: EventBatch) -> None:
    with pytest.raises(Rejected):
        store.apply(bad, [])
    assert store.count() == 0


@pytest.mark.parametrize("below", [".", "below"])
def test_a_place_that_is_not_a_directory_is_named_and_not_waited_for(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    uri = str(tmp_path / "file" / below)
    store = open_store(Options.model_validate({"uri": uri}), collection(), PLACEMENT)
    for call in (lambda: store.create(complete=False), lambda: store.apply(batch([(Op.UPSERT, "a", at(1))]), [])):
        with pytest.raises((Fatal, Refused), match=r"is not a directory|does not exist; create it first"):
            call()


def test_looking_does_not_make_a_directory(tmp_path: Path) -> None:
    store = open_store(Options.model_validate({"uri": str(tmp_path / "absent")}), collection(), PLACEMENT)
    assert store.check() == ()
    assert store.count() == 0
    with pytest.raises(Refused, match="create it first"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), [])
    assert not os.path.exists(tmp_path / "absent")


CONTENTION = "lance error: Too many concurrent writers. Attempted 10 retries., retry.rs:103:9"


def contended(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Lance gives up that many merges: so it does beside a writer that never pauses, but only one in a hundred."""
    execute, left = LanceMergeInsertBuilder.execute, [times]

    def giving_up(*arguments: object, **options: object) -> object:
        if left[0]:
            left[0] -= 1
            raise RuntimeError(CONTENTION)
        return execute(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LanceMergeInsertBuilder, "execute", giving_up)
    return left


def test_a_merge_that_other_writers_came_before_is_begun_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    left = contended(monkeypatch, MERGE_TRIES - 1)
    assert store.apply(batch([(Op.UPSERT, "a", at(1))]), []).tolist() == [Outcome.APPLIED]
    assert left == [0]
    assert store.apply(batch([(Op.UPSERT, "a", at(1))]), []).tolist() == [Outcome.DUPLICATE]


def test_a_merge_is_not_begun_anew_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    contended(monkeypatch, MERGE_TRIES)
    with pytest.raises(Transient, match="Too many concurrent writers"):
        store.apply(batch([(Op.UPSERT, "a", at(1))]), [])
    assert store.count() == 0
