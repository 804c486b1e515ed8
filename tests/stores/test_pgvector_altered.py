"""What PostgreSQL lets people do to a table while a worker writes into it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from store_data import at, batch, collection, contents
from store_factory import StoreFactory
from vecferry.errors import Refused, Rejected
from vecferry.schemas.batch import EventBatch, LiveMark, Op, Outcome
from vecferry.schemas.collection import Placement
from vecferry.stores.base import Store
from vecferry.stores.pgvector.shape import fingerprint
from waiting import wait_until

pytestmark = [pytest.mark.server, pytest.mark.parametrize("store_kind", ["pgvector"])]

Plain = psycopg.Connection[tuple[object, ...]]

PLACEMENT = Placement(table="goods", metadata=("price", "title"))
MARK = LiveMark(partition=0, next_offset=9)


@pytest.fixture
def plain(store_factory: StoreFactory) -> Iterator[Plain]:
    """A connection of the application, in the schema of the test."""
    with psycopg.connect(store_factory.options["url"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(store_factory: StoreFactory, plain: Plain) -> Store:
    """A store over a table with a price of two decimals, which has applied one event."""
    plain.execute("CREATE TABLE goods (id text PRIMARY KEY, vector vector(8), price numeric(10,2), title varchar(20))")
    made = store_factory.open(collection(), PLACEMENT)
    made.create(complete=True)
    made.apply(goods("first", 1, 1.5), ())
    return made


def goods(id_: str, offset: int, price: float | None = 1.25, title: str = "t") -> EventBatch:
    return batch([(Op.UPSERT, id_, at(offset), {"price": price, "title": title})])


def waiting(plain: Plain) -> set[object]:
    """Sessions that wait for this one, or for one that does."""
    edges = plain.execute("SELECT pid, pg_blocking_pids(pid) FROM pg_locks WHERE NOT granted").fetchall()
    found: set[object] = {plain.info.backend_pid}
    for _ in edges:
        found |= {pid for pid, blockers in edges if found & set(blockers)}  # type: ignore[call-overload]
    return found - {plain.info.backend_pid}


def test_a_price_is_never_rounded_by_an_alter_under_the_worker(store: Store, plain: Plain) -> None:
    plain.execute("ALTER TABLE goods ALTER price TYPE numeric(10,1)")
    with pytest.raises(Refused, match=r"column price was numeric\(10,2\) and is numeric\(10,1\)"):
        store.apply(goods("a", 2), (MARK,))
    assert plain.execute("SELECT count(*) FROM goods WHERE id = 'a'").fetchone() == (0,)
    plain.execute("ALTER TABLE goods ALTER price TYPE numeric(10,2)")
    assert store.apply(goods("a", 2), (MARK,)).tolist() == [Outcome.APPLIED]
    assert contents(store.fetch(["a"]))["a"].metadata == {"price": 1.25, "title": "t"}


def test_an_alter_that_comes_in_the_middle_of_a_batch_waits_for_its_end(
    store_factory: StoreFactory, store: Store, plain: Plain
) -> None:
    """Between the look at the table and the write there is no moment for it."""
    with (
        psycopg.connect(store_factory.options["url"], autocommit=True) as owner,
        ThreadPoolExecutor(2) as pool,
    ):
        with plain.transaction():
            plain.execute("SELECT FROM goods_vecferry_partitions FOR UPDATE")
            applied = pool.submit(store.apply, goods("a", 2), (MARK,))
            wait_until(lambda: len(waiting(plain)) >= 1, what="the batch, with its lock of the table")
            altered = pool.submit(owner.execute, "ALTER TABLE goods ALTER price TYPE numeric(10,1)")
            wait_until(lambda: len(waiting(plain)) >= 2, what="the owner behind the batch")
        assert applied.result(timeout=30).tolist() == [Outcome.APPLIED]
        altered.result(timeout=30)
    with pytest.raises(Refused, match="price"):
        store.apply(goods("b", 3), ())


FAULTS = [
    ("ADD COLUMN owner text NOT NULL DEFAULT 'x'", "ALTER COLUMN owner DROP DEFAULT", "DROP COLUMN owner", "owner"),
    ("ALTER COLUMN price SET NOT NULL", "", "ALTER COLUMN price DROP NOT NULL", "price"),
    ("ADD CONSTRAINT dear CHECK (price > 1)", "", "DROP CONSTRAINT dear", "dear"),
    ("RENAME TO wares", "", "", "goods"),
]


@pytest.mark.parametrize(("change", "then", "undo", "named"), FAULTS)
def test_a_fault_of_the_table_is_one_line_and_no_letter(
    store: Store, plain: Plain, change: str, then: str, undo: str, named: str
) -> None:
    for statement in filter(None, (change, then)):
        plain.execute(f"ALTER TABLE goods {statement}".encode())
    breaks = goods("a", 2, None if "NOT NULL" in change else 0.5)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            store.apply(breaks, (MARK,))
        (line,) = str(refused.value).splitlines()
        assert named in line
    plain.execute(f"ALTER TABLE goods {undo}".encode() if undo else b"ALTER TABLE wares RENAME TO goods")
    assert store.apply(breaks, (MARK,)).tolist() == [Outcome.APPLIED]


def test_a_trigger_that_may_change_what_is_written_is_noticed(store: Store, plain: Plain) -> None:
    plain.execute("CREATE FUNCTION cheap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.price = 0; RETURN NEW; END'")
    plain.execute("CREATE TRIGGER cheap BEFORE INSERT ON goods FOR EACH ROW EXECUTE FUNCTION cheap()")
    with pytest.raises(Refused, match="trigger cheap is new"):
        store.apply(goods("a", 2), ())
    plain.execute("DROP TRIGGER cheap ON goods")
    assert store.apply(goods("a", 2), ()).tolist() == [Outcome.APPLIED]


def test_a_constraint_of_the_enrolment_is_broken_by_a_record_not_by_the_table(
    store_factory: StoreFactory, store: Store, plain: Plain
) -> None:
    plain.execute("ALTER TABLE goods ADD CONSTRAINT dear CHECK (price > 1)")
    store.create(complete=True)  # `enrol` again: so be it
    for handle in (store, store_factory.open(collection(), PLACEMENT)):
        with pytest.raises(Rejected, match="dear"):
            handle.apply(goods("a", 2, 0.5), ())
    assert store.create(complete=True) == ()  # kept already


def test_a_unique_index_that_is_new_stops_the_worker_and_makes_no_letters(store: Store, plain: Plain) -> None:
    store.apply(goods("a", 2), ())
    plain.execute("CREATE UNIQUE INDEX one_price ON goods (price)")
    with pytest.raises(Refused, match="index one_price is new"):
        store.apply(goods("b", 3), ())
    plain.execute("DROP INDEX one_price")
    assert store.apply(goods("b", 3), ()).tolist() == [Outcome.APPLIED]


def test_a_table_that_was_enrolled_by_an_earlier_release_is_compared_with_its_first_look(
    store: Store, plain: Plain
) -> None:
    plain.execute("COMMENT ON TABLE goods_vecferry_partitions IS NULL")
    plain.execute("ALTER TABLE goods ALTER price TYPE numeric(10,1)")
    with pytest.raises(Refused, match="column price was"):
        store.apply(goods("a", 2), ())


ALTERATIONS = [
    "ALTER TABLE goods ADD note text",
    "ALTER TABLE goods ALTER price TYPE numeric(10,3)",
    "ALTER TABLE goods ALTER price SET NOT NULL",
    "ALTER TABLE goods RENAME price TO cost",
    "ALTER TABLE goods DROP title",
    'ALTER TABLE goods ALTER id TYPE text COLLATE "C"',
    "ALTER TABLE goods ALTER vector TYPE vector(9) USING NULL",
    "ALTER TABLE goods ADD CHECK (price > 1)",
    "CREATE UNIQUE INDEX ON goods (price)",
    "ALTER TABLE goods ALTER price SET DEFAULT 1",
    "ALTER TABLE goods ENABLE ROW LEVEL SECURITY",
    "CREATE RULE nothing AS ON DELETE TO goods DO INSTEAD NOTHING",
    "ALTER TABLE goods SET UNLOGGED",
    "ALTER TABLE goods RENAME TO old_goods; CREATE TABLE goods (LIKE old_goods INCLUDING ALL)",
]


def test_the_fingerprint_sees(store: Store, plain: Plain) -> None:
    """Every kind of change, and none in what a working table does by itself."""

    def print_of() -> object:
        return plain.execute(f"SELECT {fingerprint('goods')}".encode()).fetchone()

    before = print_of()
    store.apply(goods("a", 2), (MARK,))
    store.build_index()
    plain.execute("VACUUM ANALYZE goods")
    assert print_of() == before
    for statement in ALTERATIONS:
        with plain.transaction(force_rollback=True):
            plain.execute(statement.encode())
            assert print_of() != before, statement
    assert print_of() == before
