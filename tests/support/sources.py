"""The repository's own source files, parsed, for the tests that keep the house rules."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {"build", "dist", "__pycache__"}
NOT_THE_PACKAGE = {"tests", "benchmarks", "examples", "docs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Python file: ``path`` relative to the repository, ``module`` as dotted parts below the package."""

    path: Path
    tree: ast.Module
    line_count: int

    @property
    def parts(self) -> tuple[str, ...]:
        parts = self.path.with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts

    @property
    def part(self) -> str:
        """The part of the package that the layers are about: the first folder, or a module of the root."""
        return self.path.parts[0] if len(self.path.parts) > 1 else self.path.stem


def repository_files(suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files of the repository with one of ``suffixes``, relative to its root; what a tool made is left out."""
    for folder, names, files in os.walk(ROOT):
        hidden = {name for name in names if name.startswith(".") and name != ".ci"}
        names[:] = sorted(set(names) - hidden - NOT_OURS - {name for name in names if name.endswith(".egg-info")})
        yield from ((Path(folder) / name).relative_to(ROOT) for name in sorted(files) if name.endswith(suffixes))


@cache
def all_sources() -> tuple[Source, ...]:
    """Every Python file of the repository."""
    return tuple(parse(path, (ROOT / path).read_text()) for path in repository_files((".py",)))


def package_sources() -> tuple[Source, ...]:
    """The Python files of the import package."""
    return tuple(source for source in all_sources() if source.path.parts[0] not in NOT_THE_PACKAGE)


def parse(path: Path | str, text: str) -> Source:
    """``text`` as if it were the file ``path``."""
    return Source(path=Path(path), tree=ast.parse(text, filename=str(path)), line_count=text.count("\n") + 1)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that ``source`` imports, also inside functions."""
    package = source.parts if source.path.name == "__init__.py" else source.parts[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                base = node.module or ""
            else:
                above = package[: len(package) - (node.level - 1)]
                base = ".".join(("vecferry", *above, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
