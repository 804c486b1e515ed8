"""Ways out that several checks name. Pure."""

from __future__ import annotations

from ..journal.log_end import start_over as start_over


def lost_events(collection: str, *, is_source: bool) -> str:
    """The way out for a store that has not applied what retention has removed from the live topic."""
    if is_source:
        return f"publish what it missed again once it is enrolled anew: {start_over(collection)}"
    return (
        f"fill a store under another name: set migrations.{collection}.to to it, run `vecferry enrol {collection}`, "
        f"then `vecferry start {collection}`"
    )


def end_transaction(topic: str, partition: int) -> str:
    """The way out when another application leaves a transaction open in the live topic."""
    return (
        "end that transaction: `kafka-transactions.sh --bootstrap-server ADDRESS describe-producers --topic "
        f"{topic} --partition {partition}` names its producer, and `abort` of the same tool ends it"
    )
