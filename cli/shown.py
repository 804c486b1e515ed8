"""Tables that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..migration.gates import GateResult, Verdict, decide
from ..migration.outcome import RunOutcome
from ..wording import count
from .output import Table

_EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}


def gate_table(title: str, gates: Sequence[GateResult], *, kind: str = "gate") -> Table:
    """One row per gate or check; ``kind`` says which of the two."""
    rows = [(gate.name, gate.verdict.value, gate.measured, gate.required) for gate in gates]
    return Table(title=title, columns=(kind, "verdict", "measured", "required"), rows=rows)


def gate_problems(gates: Sequence[GateResult]) -> tuple[str, ...]:
    """One line for each gate that did not pass, remedy included."""
    return tuple(f"{gate.verdict.value}: {gate.line()}" for gate in gates if gate.verdict is not Verdict.PASS)


def gate_exit_code(gates: Sequence[GateResult]) -> int:
    """0 when all pass, 3 when one fails, 4 when one is not known."""
    return _EXIT_CODES[decide(gates)]


def statements_table(statements: Mapping[str, Sequence[str]]) -> Table:
    """What each store runs, in order."""
    rows = [(store, statement) for store, lines in statements.items() for statement in lines]
    return Table(title="Statements", columns=("store", "statement"), rows=rows)


def remarks_tables(remarks: Mapping[str, Sequence[str]]) -> tuple[Table, ...]:
    """What is worth knowing of each store; nothing where there is nothing."""
    rows = [(store, line) for store, lines in remarks.items() for line in lines]
    return (Table(title="Worth knowing", columns=("store", "remark"), rows=rows),) if rows else ()


def facts_table(title: str, facts: Mapping[str, object]) -> Table:
    """Names and values."""
    return Table(title=title, columns=("what", "value"), rows=list(facts.items()))


def run_facts(run: str | None, outcome: RunOutcome | None) -> dict[str, object]:
    """What became of a run; dead letters are named even when there are none."""
    if outcome is None:
        return {"run": run}
    skipped = {"left behind": outcome.skipped} if outcome.skipped else {}
    return {"run": run, "rows": outcome.rows, **skipped, "dead letters": outcome.dead_letters}


def letter_problems(collection: str, outcome: RunOutcome | None) -> tuple[str, ...]:
    """That a replica could not take all rows of a run, remedy included."""
    if outcome is None or not outcome.dead_letters:
        return ()
    letters = count(outcome.dead_letters, "dead letter")
    return (
        f"{outcome.into} could not take all rows of run {outcome.run}: {letters}; `vecferry dlq list {collection}` "
        f"says why; mend that and run `vecferry dlq redrive {collection}`, or publish those ids again",
    )
