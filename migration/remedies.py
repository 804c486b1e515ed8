"""Ways out that several checks name. Pure."""

from __future__ import annotations


def start_over(collection: str) -> str:
    """The way out when the live topic can no longer be trusted as the one order of all writes."""
    return (
        "stop publishers and workers, set another `namespace`, raise "
        f"collections.{collection}.epoch by one, give the target an empty table "
        f"(collections.{collection}.in.TARGET.table), and run `vecferry enrol {collection}`; the old one keeps its rows"
    )


def lost_events(collection: str, *, is_source: bool) -> str:
    """The way out for a store that has not applied what retention has removed from the live topic."""
    if is_source:
        return f"publish what it missed again once it is enrolled anew: {start_over(collection)}"
    return (
        f"fill a store under another name: set migrations.{collection}.to to it, run `vecferry enrol {collection}`, "
        f"then `vecferry start {collection}`"
    )
