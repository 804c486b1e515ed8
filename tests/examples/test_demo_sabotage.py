"""Whoever breaks a promise is found out: by ``vecferry verify``, and by the demo's own comparison."""

from __future__ import annotations

import pytest
from demo_process import Demo

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("kind", "verify", "final"),
    [
        ("drop-delete", "extra", "resurrected"),
        ("stale-write", "stale", "lost"),
        ("corrupt-vector", "corrupt", "lost"),
        ("skip-chunk", "missing", "lost"),
    ],
)
def test_sabotage_is_noticed_by_vecferry_and_by_the_checker(demo: Demo, kind: str, verify: str, final: str) -> None:
    code, report = demo.run("--sabotage", kind)
    assert code == 1, demo.said()
    assert report["verify"][verify] > 0, demo.said()
    assert report[final] > 0, demo.said()
    assert report["cutovers"] == 0
    assert f"FAULT: {final} is" in demo.said()
