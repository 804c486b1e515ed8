from __future__ import annotations

import pytest
from vecferry.examples.demo.options import parse


def test_usage_mistakes_end_with_2() -> None:
    for argv in (["--rate", "0"], ["--rows", "-1"], ["--data", "missing.parquet"], ["--sabotage", "other"]):
        with pytest.raises(SystemExit) as left:
            parse(argv)
        assert left.value.code == 2
