"""``verify``: compare what both stores hold and journal the result, which the verification gate reads."""

from __future__ import annotations

from ..backfill.context import Context, opened
from ..backfill.progress import OnProgress, Progress
from ..backfill.verification import OnDifference, VerifyReport
from ..backfill.verification import compare_stores as compare
from ..errors import Refused
from ..failpoints import hit
from ..journal.lease import Lease
from ..journal.migration import MigrationRecord, VerifyRecord, migration_key, verify_key
from ..journal.reading import known, require
from ..journal.run import RunRecord, run_key


def verify_replicas(
    context: Context,
    lease: Lease,
    *,
    sample: float | None,
    on_progress: OnProgress,
    on_difference: OnDifference = lambda difference: None,
) -> tuple[VerifyReport, VerifyRecord]:
    """Compare source and target, all rows or a random share ``sample`` of the ids, and journal the record.

    ``on_difference`` is called with everything that is found. Rows that the copy left behind on purpose are skipped
    ones, which is no fault.

    A sample without a fault, or one that left rows undecided, leaves the record of an earlier, full verification of the
    same run where it is.

    Blocks; needs running workers of both stores. Raises Refused before a copy was applied and when another controller
    takes over, Unavailable, and what the stores raise.
    """
    migration = require(context.control, migration_key(context.name), MigrationRecord)
    if migration is None or migration.step in ("enrolled", "copying"):
        raise Refused(
            f"{context.target} does not hold a copy yet; run `vecferry start {context.name}` to its end first"
        )

    def report(progress: Progress) -> None:
        lease.check()
        on_progress(progress)

    with opened(context.open_store, context.source) as source, opened(context.open_store, context.target) as target:
        found = compare(
            context.config,
            context.name,
            source,
            target,
            context.log.admin,
            sample=sample,
            skips=_skips(context, migration),
            on_progress=report,
            on_difference=on_difference,
            clock=context.clock,
        )
    record = found.to_record(context.source, context.target, context.clock.unix_s(), migration.run or "")
    if record.displaces(require(context.control, verify_key(context.name), VerifyRecord)):
        lease.write({verify_key(context.name): record})
    hit("verify.journaled")
    return found, record


def _skips(context: Context, migration: MigrationRecord) -> bool:
    run = None if migration.run is None else known(context.control, run_key(context.name, migration.run), RunRecord)
    return run is not None and run.skips
