"""Both ways of handing records to the client."""

from __future__ import annotations

import pytest
from vecferry.producers import sending


@pytest.fixture(params=["DirectSender", pytest.param("CallbackSender", marks=pytest.mark.slow)])
def sender(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the sender that publishers use in this test."""
    if request.param == "CallbackSender":
        monkeypatch.setattr(sending, "_native", None)
    return str(request.param)
