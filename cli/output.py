"""What a command prints: data on stdout as a table or as JSON, everything else on stderr.

With ``--output json`` stdout gets one document, also for an error, and each line of stderr is a JSON object, too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TextIO

from pydantic import BaseModel

Format = Literal["table", "json"]

_PROMPT_LINES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows for people; ``None`` shows as ``-``. A table without rows shows its title and ``none``."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Text for people that fits a screen: ``render`` is given its columns, and the lines that are left for it."""

    render: Callable[[int, int], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found or did.

    data        the JSON document, beside ``next_steps``
    tables      the same for people
    text        what comes before them, to be piped into another program
    problems    lines for stderr: why the exit code is what it is
    next_steps  commands to run next
    """

    data: Mapping[str, object]
    tables: tuple[Table | Page, ...]
    text: str = ""
    problems: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    exit_code: int = 0


class Console:
    """The two streams of one invocation."""

    def __init__(self, fmt: Format, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.fmt = fmt
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self._above: Callable[[str], None] | None = None

    def say(self, line: str, kind: str = "message") -> None:
        """One line on stderr; under ``--output json`` an object with the key ``kind``."""
        text = line if self.fmt == "table" else json.dumps({kind: line}, ensure_ascii=False)
        if self._above is not None:
            self._above(text)
            return
        self.stderr.write(f"{text}\n")
        self.stderr.flush()

    @contextmanager
    def saying_above(self, above: Callable[[str], None]) -> Iterator[None]:
        """Within this, lines for stderr go to ``above``: something is drawn there."""
        self._above = above
        try:
            yield
        finally:
            self._above = None

    def emit(self, result: Result, *, compact: bool = False) -> None:
        """Print ``result``; ``compact`` puts a JSON document on one line."""
        if self.fmt == "json":
            self._document({**jsonable(result.data), "next_steps": list(result.next_steps)}, compact=compact)
        else:
            self.stdout.write(result.text)
            below = len(result.problems) + len(result.next_steps) + bool(result.next_steps)
            for number, table in enumerate(result.tables):
                self._table(table, first=number == 0, below=below)
        self.stdout.flush()
        for problem in result.problems:
            self.complain(problem)
        if self.fmt == "table" and result.next_steps:
            self.say("")
            for step in result.next_steps:
                self.say(f"next: {step}")

    def fail(self, kind: str, problems: Sequence[str], exit_code: int, *, compact: bool = False) -> None:
        """Print an error: a line for each problem, and a document under ``--output json``."""
        if self.fmt == "json":
            error = {"kind": kind, "problems": list(problems)}
            self._document({"error": error, "exit_code": exit_code}, compact=compact)
            self.stdout.flush()
        for problem in problems:
            self.complain(problem)

    def complain(self, problem: str) -> None:
        """One problem on stderr."""
        text = _one_line(problem)
        self.say(f"vecferry: {text}" if self.fmt == "table" else text, "problem")

    def size(self) -> tuple[int, int]:
        """Columns and lines of the screen that stdout is; 80 and 24 where it is none."""
        columns, lines = shutil.get_terminal_size() if self.stdout.isatty() else (80, 24)
        return columns, lines

    def _document(self, document: Mapping[str, object], *, compact: bool) -> None:
        self.stdout.write(json.dumps(document, indent=None if compact else 2, ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Start a new screen, on a terminal."""
        if self.stdout.isatty():
            self.stdout.write("\x1b[H\x1b[2J")

    def _table(self, table: Table | Page, *, first: bool, below: int) -> None:
        if not first:
            self.stdout.write("\n")
        if isinstance(table, Page):
            columns, lines = self.size()
            self.stdout.write("".join(f"{line}\n" for line in table.render(columns, lines - below - _PROMPT_LINES)))
            return
        if table.title:
            self.stdout.write(f"{table.title}\n")
        if not table.rows:
            self.stdout.write("none\n")
        elif self.stdout.isatty() and importlib.util.find_spec("rich") is not None:
            _print_rich(table, self.stdout)
        else:
            self.stdout.write(plain(table))


def plain(table: Table) -> str:
    """``table`` as aligned text that does not depend on a terminal."""
    cells = [[column.upper() for column in table.columns], *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(table.columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)


def jsonable(value: object) -> dict[str, object]:
    """A mapping, dataclass or pydantic record as what ``json`` takes."""
    converted = _convert(value)
    if not isinstance(converted, dict):
        raise TypeError(f"{type(value).__name__} is no document")
    return converted


def _convert(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _convert(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _convert(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_convert(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.1f}" if isinstance(cell, float) else _one_line(str(cell))


def _one_line(text: str) -> str:
    """What a server said may have line breaks of its own; a row of a table has none."""
    return " ".join(line.strip() for line in text.splitlines())


def _print_rich(table: Table, stdout: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console as RichConsole
    from rich.table import Table as RichTable
    from rich.text import Text

    styles = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
    shown = RichTable(*(column.upper() for column in table.columns), box=SIMPLE_HEAD, pad_edge=False)
    for row in table.rows:
        shown.add_row(*(Text(_text(cell), style=styles.get(_text(cell), "")) for cell in row))
    RichConsole(file=stdout).print(shown)
