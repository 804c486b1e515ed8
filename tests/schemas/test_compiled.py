"""Compiled code for lists of texts and the Python code beside it: the same results, the same refusals."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vecferry.errors import DecodeError
from vecferry.schemas import compiled
from vecferry.schemas.avro import encode_long, encode_strings, read_strings
from vecferry.schemas.columns import are_ids, are_shallow, are_utf8, vectors_before_last
from vecferry.schemas.partitioner import partitions_of

NUMBERS = (0, 1, 2, -1, -2, 63, 64, 2**31, 2**62, 2**63 - 1, -(2**63))
json_like = st.text(alphabet='{}[]"\\aé\0').map(str.encode)
some_bytes = json_like | st.binary(max_size=80) | st.binary(min_size=64, max_size=64).map(lambda chunk: chunk * 200)
some_texts = st.lists(some_bytes, max_size=20)
pieces = st.sampled_from(NUMBERS).map(encode_long) | st.binary(max_size=3) | st.just(b"\0")


@contextmanager
def python_alone() -> Iterator[None]:
    """As where nothing could be compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "read_strings", lambda _data, _at: None)
        patch.setattr(compiled, "encode_strings", lambda _texts: None)
        patch.setattr(compiled, "are_plain", lambda _texts, _brackets: False)
        patch.setattr(compiled, "partitions", lambda _ids, _count: None)
        patch.setattr(compiled, "sized_texts", lambda _texts, _order: None)
        patch.setattr(compiled, "tails", lambda _texts, _size, _taken: None)
        yield


def both(call: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """What ``call`` says with compiled code, and without."""
    with_it = outcome(call, *arguments)
    with python_alone():
        return with_it, outcome(call, *arguments)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        found = call(*arguments)
    except (DecodeError, UnicodeEncodeError) as error:
        return str(error)
    return found if isinstance(found, bytes | tuple) else (found.dtype, found.tolist())


def test_it_is_there_where_it_can_be_compiled() -> None:
    if shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]):
        assert Path(compiled.read_strings.__self__.__file__).name.startswith("_columns")  # type: ignore[attr-defined]


@given(some_texts)
@example([b""])
@example([b"x" * size for size in (63, 64, 8191, 8192)])
def test_texts_are_written_and_read_back(texts: list[bytes]) -> None:
    written, by_python = both(encode_strings, texts)
    assert written == by_python
    read, by_python = both(read_strings, b"ab" + written + b"c", 2)
    assert read == by_python == (texts, 2 + len(written))


@given(st.lists(pieces, max_size=12).map(b"".join), st.integers(-1, 3))
@example(encode_long(-1) + encode_long(2) + encode_long(1) + b"a\0", 0)  # a block that says its bytes
@example(encode_long(1) + encode_long(1) + b"a" + encode_long(1) + encode_long(0) + b"\0", 0)  # two blocks
@example(encode_long(1) + b"\x82\x00" + b"a\0", 0)  # a longer number than is needed
@example(encode_long(1) + b"\xff" * 9 + b"\x01" + b"a\0", 0)
@example(encode_long(1) + encode_long(-1) + b"\0", 0)  # a text of less than nothing
@example(encode_long(2) + encode_long(1) + b"a\0", 0)  # one text is missing
@example(encode_long(1) + encode_long(1) + b"a", 0)  # no end
def test_whatever_is_read_is_read_alike(data: bytes, at: int) -> None:
    read, by_python = both(read_strings, data, max(0, min(at, len(data))))
    assert read == by_python


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 2**31 - 1))
@example(["a", "\ud800"], 4)
@example(["é" * 7, "", "four", "fives"], 4)
def test_an_id_has_the_same_partition(ids: list[str], count: int) -> None:
    found, by_python = both(partitions_of, ids, count)
    assert found == by_python


@given(some_texts, st.integers(1, 4))
@example([b"\xc3"], 1)
@example([b"\xc3", b"\xa9"], 1)  # together they would be valid
@example([b"\xed\xa0\x80"], 1)
@example([b"\x81"], 1)  # the first bit alone says that it is not ASCII
@example([b"[[", b""], 1)
@example([b'[{"a":1}]'], 1)  # one level more
@example([b"[[[]]]"], 2)
def test_texts_are_judged_alike(texts: list[bytes], levels: int) -> None:
    for judge, *more in ((are_utf8,), (are_ids,), (are_shallow, levels)):
        judged, by_python = both(judge, texts, *more)
        assert judged == by_python


@given(st.lists(st.tuples(st.binary(max_size=9), st.booleans()), max_size=9))
def test_vectors_are_taken_alike(texts: list[tuple[bytes, bool]]) -> None:
    floats = np.arange(2 * len(texts), dtype="<f4").reshape(-1, 2) + 1
    values = [head + row.tobytes() + b"\0" if here else head for (head, here), row in zip(texts, floats, strict=True)]
    among = np.array([here for _, here in texts], np.bool_)
    taken, by_python = both(vectors_before_last, values, 2, among)
    assert taken == by_python == (np.dtype(np.float32), np.where(among[:, None], floats, 0).tolist())


def test_what_is_no_list_of_bytes_is_left_to_python() -> None:
    assert compiled.encode_strings((b"a",)) is None
    assert compiled.encode_strings([b"a", "b"]) is None
    assert not compiled.are_plain([b"a", "b"], 1)
    assert not compiled.are_plain(("a",), 1)
    assert compiled.partitions(["a", 1], 1) is None
    assert compiled.partitions(["a"], 0) is None
    assert compiled.read_strings(b"", -1) is None
    assert compiled.read_strings(b"", 1) is None
    zero = np.zeros(1, np.int64).tobytes()
    assert compiled.sized_texts([b"a"], zero) == b"\0\0\0\1a"
    assert compiled.sized_texts(["\ud800"], zero) is None
    assert compiled.sized_texts([1], zero) is None  # type: ignore[list-item]
    assert compiled.sized_texts([], zero) is None
    assert compiled.sized_texts([b"a"], np.full(1, -1, np.int64).tobytes()) is None
    assert compiled.tails([b"12345"], 4, b"\1") == b"1234"
    assert compiled.tails([b"1234"], 4, b"\1") is None
    assert compiled.tails(["12345"], 4, b"\1") is None
    assert compiled.tails((b"12345",), 4, b"\1") is None
    assert compiled.tails([b"12345"], 4, b"") is None
    assert compiled.tails([b"12345"], 0, b"\1") is None
