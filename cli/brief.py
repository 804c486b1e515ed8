"""The status of a migration on one screen: what stands where, what is in the way, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..journal.migration import VerifyRecord
from ..migration.gates import GateResult, Verdict
from ..migration.status import RunStatus, Status, StoreStatus
from ..wording import count, mib
from .progress import duration, wrapped

_NAME = 10
_VERDICTS = {Verdict.FAIL: "fail", Verdict.INCONCLUSIVE: "not known"}


def brief(status: Status, columns: int, most: int) -> list[str]:
    """``status`` in lines of at most ``columns``, at most ``most`` of them; gates that do not fit are counted."""
    lines = [line for name, text in _facts(status) for line in _wrapped(f"{name:<{_NAME}}", text, columns)]
    lines = [*_wrapped("", status.collection, columns), *lines]
    closed = [gate for gate in status.gates if gate.verdict is not Verdict.PASS]
    shown = [_gate(gate, columns) for gate in closed]
    while shown and len(lines) + sum(map(len, shown)) + (len(shown) < len(closed)) > most:
        shown.pop()
    lines += [line for gate in shown for line in gate]
    if len(shown) < len(closed):
        lines.append(f"  and {len(closed) - len(shown)} more: --full shows them")
    return lines


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    yield "phase", status.phase + (f" ({status.step})" if status.step else "")
    source, target = status.stores
    yield "reads", f"{source.store} {100 - status.percent} %, {target.store} {status.percent} %"
    yield "copy", "none yet" if status.run is None else _copy(status.run)
    yield "lag", "; ".join(_lag(store) for store in status.stores)
    yield "verified", _verified(status.verification, status.verification_age_s)
    size = status.size
    if size is not None and size.held is not None and size.bound is not None and size.held > size.bound:
        yield "size", f"{target.store} takes {mib(size.held)}, above its bound of {mib(size.bound)}"
    if status.controller:
        yield "command", status.controller
    passed = sum(gate.verdict is Verdict.PASS for gate in status.gates)
    yield "gates", f"{passed} of {len(status.gates)} pass"


def _copy(run: RunStatus) -> str:
    applied = f"applied in {run.applied_partitions} of {count(run.partitions, 'partition')}"
    if run.state == "closed":
        return f"{run.run} closed, {count(run.rows, 'row')}, {applied}"
    chunks = f"{run.chunks_done} of {count(run.chunks, 'chunk')}"
    return f"{run.run} {run.state}, {run.percent:.1f} %, {chunks}, {count(run.rows, 'row')}"


def _lag(store: StoreStatus) -> str:
    lag = "not known" if store.lag_records is None else count(store.lag_records, "record")
    workers = count(store.workers, "worker") if store.workers else "no worker"
    return f"{store.store} {lag} ({workers})"


def _verified(record: VerifyRecord | None, age_s: float | None) -> str:
    if record is None or age_s is None:
        return "never"
    kinds = ("missing", "extra", "stale", "corrupt", "undecided", "skipped")
    found = [f"{number} {kind}" for kind in kinds if (number := getattr(record, kind))]
    what = "rows" if record.complete else "rows of a sample"
    return f"{duration(max(0.0, age_s))} ago: {record.checked} {what}, {', '.join(found) or 'nothing differs'}"


def _gate(gate: GateResult, columns: int) -> list[str]:
    return _wrapped(f"  {_VERDICTS[gate.verdict]:<{_NAME}}", f"{gate.name}: {gate.measured}", columns)


def _wrapped(name: str, text: str, columns: int) -> list[str]:
    return wrapped(text, columns, name, " " * len(name))
