"""Each fault of lancedb that ``quirks.py`` works around is still there.

A test that fails here says that a fault was mended: take the work-around away.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.table import LanceTable
from vecferry.stores.lancedb import quirks

pytestmark = pytest.mark.slow

SCHEMA = pa.schema(
    [
        *(pa.field("note", pa.string()), pa.field("vector", pa.list_(pa.float32(), 2)), pa.field("text", pa.string())),
        *(pa.field("id", pa.string()), pa.field("p", pa.int64())),
    ]
)
VECTOR = SCHEMA.field("vector").type


@pytest.fixture
def table(tmp_path: Path) -> LanceTable:
    made = lancedb.connect(tmp_path).create_table("t", schema=SCHEMA)
    made.add(rows(["a", "b"], 1).append_column("note", pa.nulls(2, pa.string())))
    return made


def rows(ids: list[str], position: int, vectors: pa.Array | None = None) -> pa.Table:
    given = pa.array([[1.0, 2.0]] * len(ids), VECTOR) if vectors is None else vectors
    columns = {"id": ids, "vector": given, "p": [position] * len(ids), "text": ["{}"] * len(ids)}
    return pa.table(columns)


def merging(table: LanceTable, where: str = "target.p < source.p") -> lancedb.table.LanceMergeInsertBuilder:
    return table.merge_insert("id").when_matched_update_all(where=where).when_not_matched_insert_all()


def vector_of(table: LanceTable, id_: str) -> object:
    return table.search().where(f"id = '{id_}'").select(["vector"]).to_list()[0]["vector"]


@pytest.mark.slow
def test_lancedb_still_imports_all_of_its_rest_client() -> None:
    code = f"import sys, lancedb; print('{quirks.PACKAGE}.api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_lancedb_still_looks_for_nan_in_plain_vectors(table: LanceTable) -> None:
    bad = pa.array([[np.nan, 1.0]], VECTOR)
    quirks.execute(merging(table), rows(["plain"], 1, bad))
    assert vector_of(table, "plain") is None
    finite = pa.ExtensionArray.from_storage(quirks.Finite(VECTOR), bad)
    quirks.execute(merging(table), rows(["finite"], 1, finite))
    np.testing.assert_equal(vector_of(table, "finite"), [np.nan, 1.0])


def test_a_merge_still_finds_no_column_of_the_target_behind_a_function(table: LanceTable) -> None:
    with pytest.raises(ValueError, match=r"No field named target\.p"):
        quirks.execute(merging(table, "coalesce(target.p, 0) < source.p"), rows(["a"], 2))
    assert quirks.execute(merging(table, quirks.below_source("p", 0)), rows(["a"], 2)).num_updated_rows == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_merge_through_an_index_still_fails(table: LanceTable, capfd: pytest.CaptureFixture[str]) -> None:
    table.create_scalar_index("id")
    try:
        through = merging(table).execute(rows(["a"], 2), on_bad_vectors="null").num_updated_rows
    except BaseException as error:  # noqa: BLE001  a panic is no Exception
        through = type(error).__name__
    assert through in (0, "RustPanic", "PanicException")
    assert quirks.execute(merging(table), rows(["a"], 2)).num_updated_rows == 1
    capfd.readouterr()  # what the panic printed


def test_a_null_vector_is_still_a_bad_one(table: LanceTable) -> None:
    nothing = pa.nulls(1, VECTOR)
    with pytest.raises(RuntimeError, match="on_bad_vectors"):
        merging(table).use_index(False).execute(rows(["c"], 1, nothing))
    assert quirks.execute(merging(table), rows(["c"], 1, nothing)).num_inserted_rows == 1


def test_to_connect_still_makes_the_directory(tmp_path: Path) -> None:
    place = str(tmp_path / "new")
    assert quirks.is_absent(place)
    lancedb.connect(place)
    assert not quirks.is_absent(place)


def test_a_missing_table_and_a_time_out_still_have_no_exception_of_their_own(tmp_path: Path, table: LanceTable) -> None:
    with pytest.raises(ValueError, match="was not found") as missing:
        lancedb.connect(tmp_path).open_table("absent")
    assert missing.type is ValueError
    assert quirks.is_missing_table(missing.value)
    with pytest.raises(RuntimeError) as late:
        table.search(np.zeros(2, np.float32)).to_arrow(timeout=timedelta(microseconds=1))
    assert late.type is RuntimeError
    assert quirks.is_timeout(late.value)


FORK_AND_EXIT = """
import os, select, sys, warnings
import lancedb
from vecferry.stores.lancedb import quirks

warnings.simplefilter("ignore")
lancedb.connect(sys.argv[1]).open_table("t").count_rows()
if sys.argv[2] == "let":
    quirks.begin_use()
child = os.fork()
if child == 0:
    sys.exit(7)
ended, _, _ = select.select([os.pidfd_open(child)], [], [], float(sys.argv[3]))
if not ended:
    os.kill(child, 9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("how", "patience_s", "code"), [("leave", "2", "-9"), ("let", "60", "7")])
def test_a_forked_child_still_hangs_at_its_end(
    tmp_path: Path, table: LanceTable, how: str, patience_s: str, code: str
) -> None:
    command = [sys.executable, "-c", FORK_AND_EXIT, str(tmp_path), how, patience_s]
    assert subprocess.run(command, capture_output=True, text=True, timeout=90).stdout.split() == [code]
