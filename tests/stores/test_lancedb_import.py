"""The store does not pay for lancedb's REST client, and takes it from nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PACKAGE = "lance_namespace_urllib3_client"
OPENED = """
from vecferry.schemas.collection import Collection, Placement, Space
from vecferry.stores import lancedb
from vecferry.stores.lancedb.options import Options
space = Space(model="m", version="1", dimension=4, metric="cosine")
collection = Collection(name="c", space=space, partitions=1)
lancedb.open(Options.model_validate({"uri": "absent"}), collection, Placement(table="t"))
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_opening_the_store_builds_no_rest_operations() -> None:
    assert run(f"{OPENED}import sys; print('lancedb' in sys.modules, '{PACKAGE}.api' in sys.modules)") == "True False"


def test_an_application_still_finds_all_of_it() -> None:
    public = f"import {PACKAGE} as client; print(sorted(name for name in dir(client) if name[0] != '_'))"
    asked = f"{OPENED}import {PACKAGE} as client; client.TableApi; {public}"
    assert run(asked) == run(public)
    assert run(f"{OPENED}from {PACKAGE} import ApiClient, models; print(ApiClient.__name__)") == "ApiClient"
    assert run(f"{OPENED}import {PACKAGE} as c; print(hasattr(c, 'nothing'), hasattr(c, 'TableApi'))") == "False True"


def test_what_an_application_imported_first_stays() -> None:
    assert run(f"import {PACKAGE} as c, sys\n{OPENED}print(sys.modules['{PACKAGE}'] is c)") == "True"
