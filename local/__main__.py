"""``python -m vecferry.local check|start|stop|status|env|clean``: the servers of this checkout from a shell."""

from __future__ import annotations

import argparse
import shlex
import sys
from urllib.parse import urlsplit, urlunsplit

from ..errors import VecferryError
from . import services


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Data goes to stdout, progress to stderr; 0 done, 1 failed (``status``: not all run).

    ``check`` starts nothing and fails when a program is missing that ``start`` would need.
    """
    parser = argparse.ArgumentParser(prog="vecferry.local", description=__doc__)
    parser.add_argument("verb", choices=["check", "start", "stop", "status", "env", "clean"])
    parser.add_argument("--name", help="a set of servers of its own; default: the set of this checkout")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen.verb, chosen.name)
    except VecferryError as problem:
        _say(str(problem))
        return 1


def _run(verb: str, name: str | None) -> int:
    if verb == "check":
        services.check(name)
        return 0
    if verb == "start":
        services.start(name, say=_say)
        return _show_status(name)
    if verb == "env":
        addresses = services.start(name, say=_say)
        for kind, variable in services.ADDRESS_VARIABLES.items():
            sys.stdout.write(f"export {variable}={shlex.quote(getattr(addresses, kind))}\n")
        return 0
    if verb == "stop":
        stopped = services.stop(name)
        sys.stdout.write(f"stopped: {', '.join(stopped) or 'nothing ran'}\n")
        return 0
    if verb == "clean":
        services.clean(name)
        return 0
    return _show_status(name)


def _show_status(name: str | None) -> int:
    found = services.status(name)
    for one in found:
        where = "not running" if one.address is None else without_password(one.address)
        pid = "" if one.pid is None else f"  pid {one.pid}"
        sys.stdout.write(f"{one.kind:<9} {one.source:<8} {where}{pid}\n")
    return 0 if all(one.address is not None for one in found) else 1


def without_password(address: str) -> str:
    """``address`` as it may be shown: the password of a URL replaced."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))


def _say(line: str) -> None:
    sys.stderr.write(f"vecferry: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
