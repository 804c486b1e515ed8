"""Which users the readers of the demo serve."""

from __future__ import annotations

import pytest
from vecferry.examples.demo.scenario import CUTOVERS
from vecferry.proof.readers import USERS, user_key
from vecferry.reads.route import BUCKETS, bucket_of


@pytest.mark.parametrize("reader", range(16))
def test_the_smallest_route_is_met_by_a_user_of_every_reader(reader: int) -> None:
    """With names drawn by chance, one run in two hundred waited in vain for its first answer from the new store."""
    met = [user for user in range(USERS) if bucket_of(user_key(reader, user)) * 100 < min(CUTOVERS) * BUCKETS]
    assert met
