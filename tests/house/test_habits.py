"""Habits of the code that a reader relies on. Each rule is also tried on a planted offence."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from sources import ROOT, Source, all_sources, package_sources, parse, repository_files

FUNCTION_LINES = 70
FILE_LINES = 400
CLOCK_CALLS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.sleep"),
    *("time.perf_counter", "time.perf_counter_ns", "datetime.now", "datetime.utcnow", "date.today"),
}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve"}
MESSAGE_NAMES = {"msg", "message", "kafka_message", "record_value"}
MESSAGE_CALLS = {"poll", "value"}
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("root", "work"))

Rule = Callable[[Source], Iterator[str]]


def clocks(source: Source) -> Iterator[str]:
    """Reads a clock, or sleeps, without being given a ``Clock``."""
    if source.path.as_posix() == "clock.py":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and _dotted(node).endswith(tuple(CLOCK_CALLS)):
            yield f"{source.path}:{node.lineno}: {_dotted(node)}"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"{source.path}:{node.lineno}: from time import …"


def unsafe(source: Source) -> Iterator[str]:
    """Pickles, evaluates text as code, or catches everything."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                bad = [alias.name for alias in names if alias.name in UNSAFE_MODULES]
            case ast.ImportFrom(module=str(module)):
                bad = [module] if module in UNSAFE_MODULES else []
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                bad = [name]
            case ast.ExceptHandler(type=None):
                bad = ["bare except"]
            case _:
                bad = []
        yield from (f"{source.path}:{node.lineno}: {what}" for what in bad)  # type: ignore[attr-defined]


def message_truth(source: Source) -> Iterator[str]:
    """Tests a Kafka message or its value for truth: ``len(message)`` is its value's, so a tombstone is false."""
    for node in ast.walk(source.tree):
        for tested in _tested_for_truth(node):
            if _is_message(tested):
                yield f"{source.path}:{tested.lineno}: truth of {ast.unparse(tested)}"


def next_offsets(source: Source) -> Iterator[str]:
    """Computes the next offset outside the one place for it."""
    if source.path.as_posix() == "schemas/position.py":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
            one = any(isinstance(side, ast.Constant) and side.value == 1 for side in sides)
            if one and any(_name(side).endswith(("offset", "offsets")) for side in sides):
                yield f"{source.path}:{node.lineno}: {ast.unparse(node)}"


def long_code(source: Source) -> Iterator[str]:
    """A function or a file that no longer fits in a reader's head."""
    if source.line_count > FILE_LINES:
        yield f"{source.path}: {source.line_count} lines"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{source.path}:{node.lineno}: {node.name} has {lines} lines"


def undocumented(source: Source, contracts: frozenset[str]) -> Iterator[str]:
    """A public module, class or function without a docstring; a method may have its text in a Protocol instead."""
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield f"{source.path}: module"
    for node in _public(source.tree.body):
        if ast.get_docstring(node) is None:
            yield f"{source.path}:{node.lineno}: {node.name}"
        if isinstance(node, ast.ClassDef):
            for method in _public(node.body):
                if ast.get_docstring(method) is None and method.name not in contracts:
                    yield f"{source.path}:{method.lineno}: {node.name}.{method.name}"


def contracts_of(sources: Iterable[Source]) -> frozenset[str]:
    """Names of the methods that Protocols document."""
    classes = (node for source in sources for node in source.tree.body if isinstance(node, ast.ClassDef))
    protocols = (node for node in classes if any(_name(base).startswith("Protocol") for base in node.bases))
    return frozenset(
        method.name for protocol in protocols for method in _public(protocol.body) if ast.get_docstring(method)
    )


@pytest.mark.parametrize(
    "rule", [clocks, unsafe, message_truth, next_offsets, long_code], ids=lambda rule: rule.__name__
)
def test_the_package_keeps(rule: Rule) -> None:
    assert [problem for source in package_sources() for problem in rule(source)] == []


@pytest.mark.parametrize("rule", [unsafe, long_code], ids=lambda rule: rule.__name__)
def test_the_whole_repository_keeps(rule: Rule) -> None:
    assert [problem for source in all_sources() for problem in rule(source)] == []


def test_everything_public_is_documented() -> None:
    sources = package_sources()
    contracts = contracts_of(sources)
    assert [problem for source in sources for problem in undocumented(source, contracts)] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (clocks, "import time\ntime.sleep(1)"),
        (clocks, "from time import monotonic"),
        (clocks, "import datetime\nnow = datetime.datetime.now()"),
        (unsafe, "import pickle"),
        (unsafe, "eval('1')"),
        (unsafe, "try:\n    pass\nexcept:\n    pass"),
        (message_truth, "while msg:\n    pass"),
        (message_truth, "if not message:\n    pass"),
        (message_truth, "x = 1 if (msg := consumer.poll(1)) else 2"),
        (message_truth, "rows = [m for m in batch if m.value()]"),
        (message_truth, "ok = ready and msg"),
        (next_offsets, "position = message.offset() + 1"),
        (next_offsets, "upto = 1 + last_offset"),
        (long_code, "def f():\n" + "    pass\n" * FUNCTION_LINES),
        (long_code, "\n" * FILE_LINES),
    ],
)
def test_an_offence_is_found(rule: Rule, text: str) -> None:
    assert len(list(rule(parse("consumers/planted.py", text)))) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (message_truth, "while self._producer.poll(0):\n    pass"),
        (message_truth, "if msg is None or msg.value() is None:\n    pass"),
        (next_offsets, "after = next_offset(message.offset())\nrows = count + 1"),
        (clocks, "clock.sleep_s(1)\nclock.monotonic_s()"),
    ],
)
def test_the_right_way_is_not_an_offence(rule: Rule, text: str) -> None:
    assert list(rule(parse("consumers/fine.py", text))) == []


def test_a_missing_docstring_is_found() -> None:
    planted = parse("reads/planted.py", '"""Doc."""\nclass A:\n    """Doc."""\n    def b(self): ...\ndef c(): ...')
    assert len(list(undocumented(planted, frozenset()))) == 2
    assert len(list(undocumented(planted, frozenset({"b"})))) == 1


def test_no_path_of_one_machine_is_written_down() -> None:
    suffixes = (".py", ".md", ".toml", ".yml", ".yaml", ".xml", ".sh", ".txt", ".json", "run", ".in")
    found = [
        f"{path}: {needle}"
        for path in repository_files(suffixes)
        for needle in MACHINE_PATHS
        if needle in (ROOT / path).read_text()
    ]
    assert found == []


def test_the_walk_sees_the_repository() -> None:
    assert {Path("errors.py"), Path("local/kafka.py")} <= {source.path for source in package_sources()}
    assert Path("run") in set(repository_files(("run",)))


def _public(body: Iterable[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node)


def _name(node: ast.expr) -> str:
    """The last name in an expression: of ``self.offset``, ``message.offset()`` and ``offset`` it is ``offset``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _name(inner)
        case _:
            return ""


def _tested_for_truth(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            return [test]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.comprehension(ifs=ifs):
            return ifs
        case _:
            return []


def _is_message(node: ast.expr) -> bool:
    match node:
        case ast.NamedExpr(target=target, value=value):
            return _is_message(target) or _is_message(value)
        case ast.Name(id=name):
            return name in MESSAGE_NAMES
        case ast.Call(func=ast.Attribute(attr=name, value=owner)):
            # A producer's poll() returns how many deliveries it served, a number.
            return name in MESSAGE_CALLS and not _name(owner).endswith("producer")
        case _:
            return False
