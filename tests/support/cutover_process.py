"""``python -m cutover_process BOOTSTRAP NAMESPACE PERCENT``: one cutover, for tests that kill it."""

from __future__ import annotations

import sys

from migration_rig import Rig
from vecferry.migration.cutover import move_reads


def main(bootstrap: str, namespace: str, percent: str) -> None:
    """Move the reads of an enrolled collection."""
    rig = Rig(bootstrap, namespace=namespace)
    rig.stores["old"].create(complete=True)
    rig.hold_run("r1")
    with rig.steering() as (context, lease):
        move_reads(context, lease, int(percent))


if __name__ == "__main__":
    main(*sys.argv[1:])
