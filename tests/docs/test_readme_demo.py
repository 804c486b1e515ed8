"""What docs/demo.md says of the demo is what the demo does."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

from documents import ROOT, section, text_of

PAGE = text_of("docs/demo.md")
WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def demo_module(name: str) -> ModuleType:
    """A module of the demo, under a name that no other test uses."""
    spec = importlib.util.spec_from_file_location(f"readme_demo_{name}", ROOT / "examples" / "demo" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_names_the_defaults_of_the_demo() -> None:
    options = demo_module("options")
    chosen, text = options.parse([]), section(PAGE, "The demo")
    assert f"{WORDS[chosen.writers]} writers publish {chosen.rate:g} upserts and deletes a second" in text
    assert f"{WORDS[chosen.readers]} readers" in text
    assert set(re.findall(r"--sabotage ([a-z-]+)", text)) <= set(options.SABOTAGES)


def test_the_figures_of_the_page_are_those_that_the_demo_judges() -> None:
    report = demo_module("report")
    required = dict.fromkeys(report.ZEROS, "0") | {name: f">= {least:g}" for name, least in report.MINIMA.items()}
    shown = re.findall(r"^│ (\S+) +│ +\S+ +│ (.*?) +│$", section(PAGE, "The demo"), re.MULTILINE)
    assert len(shown) > 8
    assert {name: bound for name, bound in shown if name != "seconds"}.items() <= required.items()
