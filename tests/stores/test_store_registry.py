"""No kind of store without the contract suite, and none whose options need its client."""

from __future__ import annotations

import subprocess
import sys

import pytest
from store_factory import harness
from vecferry.schemas.collection import Placement
from vecferry.stores.options import options_model, placement_model
from vecferry.stores.registry import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_harness_for_the_contract_suite(kind: str) -> None:
    found = harness(kind)
    assert isinstance(found.SERVER, bool)
    assert callable(found.place)
    assert callable(found.make_existing)
    assert callable(found.physical_rows)


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_of_an_option_is_printed(kind: str) -> None:
    secret = "hunter2-p4ssw0rd"
    model = options_model(kind)
    texts = [name for name, field in model.model_fields.items() if "float" not in str(field.annotation)]
    assert texts
    options = model.model_validate(dict.fromkeys(texts, secret))
    assert secret not in f"{options!r} {options} {options.model_dump_json()}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_placement_of_a_table_alone_has_the_default_columns(kind: str) -> None:
    assert placement_model(kind).model_validate({"table": "t"}).placement() == Placement(table="t")


def test_a_configuration_is_read_without_any_client_of_a_store() -> None:
    names = ["psycopg", "pgvector", "lancedb", "pyarrow"]
    code = (
        "import sys; from vecferry.stores.options import options_model, placement_model; "
        "from vecferry.stores.registry import KINDS; "
        "assert [options_model(kind) and placement_model(kind) for kind in KINDS]; "
        f"print([name for name in {names} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
