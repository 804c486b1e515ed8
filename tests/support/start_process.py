"""``python -m start_process BOOTSTRAP NAMESPACE ROWS``: one ``start`` on stores of its own, for tests that kill it."""

from __future__ import annotations

import sys

from migration_rig import Rig
from vecferry.migration.start import start


def main(bootstrap: str, namespace: str, rows: str) -> None:
    """Copy an enrolled collection; the source is made again as the test's was."""
    rig = Rig(bootstrap, rows=int(rows), namespace=namespace)
    rig.stores["old"].create(complete=True)
    with rig.steering() as (context, lease):
        start(context, lease, say=lambda line: None, on_progress=lambda progress: None, timeout_s=1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
