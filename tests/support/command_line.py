"""``vecferry`` in a process of its own, as a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from migration_rig import NAME, settings


def vecferry(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in ``cwd``, where its configuration lies."""
    clean = {key: value for key, value in os.environ.items() if key != "VECFERRY_CONFIG"}
    return subprocess.run(
        [sys.executable, "-m", "vecferry", *arguments],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def write_config(
    folder: Path, bootstrap: str, *, old: str = "./old", namespace: str | None = None
) -> dict[str, object]:
    """A configuration with real stores in ``folder``."""
    data = settings(bootstrap, namespace)
    stores = {"old": old, "new": "./new"}
    lines = [
        f'namespace = "{data["namespace"]}"',
        f'[kafka]\nbootstrap_servers = "{bootstrap}"',
        *(
            f'[stores.{name}]\nkind = "{"pgvector" if "://" in at else "lancedb"}"\n'
            f'{"url" if "://" in at else "uri"} = "{at}"'
            for name, at in stores.items()
        ),
        f'[collections.{NAME}]\ndimension = 4\nmetric = "cosine"\npartitions = 3',
        'space = {model = "m", version = "1"}',
        *(f'[collections.{NAME}.in.{name}]\ntable = "{NAME}"' for name in stores),
        f'[migrations.{NAME}]\nfrom = "old"\nto = "new"',
    ]
    (folder / "vecferry.toml").write_text("\n".join(lines))
    return data


def lines_of(text: str) -> list[str]:
    """The lines of ``text`` that are not empty."""
    return [line for line in text.splitlines() if line]
