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
        pid = "" if one.pid is None else f"  pid {one.pid}"
        sys.stdout.write(f"{one.kind:<9} {one.source:<8} {shown_address(one)}{pid}\n")
    return 0 if all(one.address is not None for one in found) else 1


def shown_address(one: services.Status) -> str:
    """The address as it can be used. A password that somebody else chose stays where it was given."""
    if one.address is None:
        return "not running"
    parts = urlsplit(one.address)
    if one.source != "address" or parts.password is None:
        return one.address
    bare = urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}"))
    return f"{bare} (its password: ${services.ADDRESS_VARIABLES[one.kind]})"


def _say(line: str) -> None:
    sys.stderr.write(f"vecferry: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
