"""``python -m start_process BOOTSTRAP NAMESPACE ROWS [start|new-run|cancel]``: one verb, for tests that kill it."""

from __future__ import annotations

import sys

from migration_rig import Rig
from vecferry.migration.cancel import cancel
from vecferry.migration.start import start


def main(bootstrap: str, namespace: str, rows: str, verb: str = "start") -> None:
    """Steer an enrolled collection, on stores of its own; the source is made again as the test's was."""
    rig = Rig(bootstrap, rows=int(rows), namespace=namespace)
    rig.stores["old"].create(complete=True)
    with rig.steering() as (context, lease):
        if verb == "cancel":
            cancel(context, lease)
            return
        new_run = verb == "new-run"
        start(
            context,
            lease,
            new_run=new_run,
            say=lambda line: None,
            on_progress=lambda progress: None,
            timeout_s=1.0,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
