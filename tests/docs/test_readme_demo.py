"""What docs/demo.md says of the demo is what the demo does."""

from __future__ import annotations

import re

from documents import section, text_of
from vecferry.examples.demo.options import parse
from vecferry.proof.report import MINIMA, ZEROS
from vecferry.proof.sabotage import KINDS

PAGE = text_of("docs/demo.md")
WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def test_the_page_names_the_defaults_of_the_demo() -> None:
    chosen, text = parse([]), section(PAGE, "The demo")
    assert f"{WORDS[chosen.writers]} writers publish {chosen.rate:g} upserts and deletes a second" in text
    assert f"{WORDS[chosen.readers]} readers" in text
    assert set(re.findall(r"--sabotage ([a-z-]+)", text)) <= set(KINDS)


def test_the_figures_of_the_page_are_those_that_the_demo_judges() -> None:
    required = dict.fromkeys(ZEROS, "0") | {name: f">= {least:g}" for name, least in MINIMA.items()}
    shown = re.findall(r"^│ (\S+) +│ +\S+ +│ (.*?) +│$", section(PAGE, "The demo"), re.MULTILINE)
    assert len(shown) > 8
    assert {name: bound for name, bound in shown if name != "seconds"}.items() <= required.items()
