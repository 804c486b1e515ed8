"""What a dry run says: that it is one, what it would do, and the command that does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from migration_facts import RUN, ready
from vecferry.cli import cancel, cutover, dlq, replay
from vecferry.cli.init import TEMPLATE
from vecferry.cli.main import main
from vecferry.config import GatesSection
from vecferry.migration.cancel import Cancellation
from vecferry.migration.cutover import plan_move
from vecferry.migration.facts import Facts
from vecferry.migration.redrive import Redriven, StoredLetter
from vecferry.migration.replaying import ReplayPlan
from vecferry.schemas.codec import EventEncoder
from vecferry.schemas.collection import Collection, Space
from vecferry.schemas.dead_letters import Origin

C = "products"
LETTER = StoredLetter(
    key="new/shop.products.events/0/7/0",
    origin=Origin(store="new", topic="shop.products.events", partition=0, offset=7),
    reason="13 violates a check",
    record_key=b"a",
    value=b"x",
)


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command without servers: exit code, stdout, stderr."""
    path = tmp_path / "vecferry.toml"
    path.write_text(TEMPLATE)
    for module in (cutover, replay, dlq, cancel):
        monkeypatch.setattr(module, "open_context", lambda *_, **__: nullcontext(None))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--config", str(path)])
        return code, *capsys.readouterr()

    return run


def preview_of(monkeypatch: pytest.MonkeyPatch, module: ModuleType, answer: object) -> None:
    (name,) = (name for name in vars(module) if name.startswith("preview_"))
    monkeypatch.setattr(module, name, lambda *_, **__: answer)


@pytest.mark.parametrize(
    ("facts", "title", "step"),
    [
        (ready(), "Reads would move to 5 %; nothing was changed", f"vecferry cutover {C} --to 5"),
        (replace(ready(), verify=None), "Reads would not move to 5 %; nothing was changed", f"vecferry verify {C}"),
        (
            replace(ready(), dead_letters=(LETTER.key,)),
            "Reads would not move to 5 %; nothing was changed",
            f"vecferry dlq list {C}",
        ),
    ],
)
def test_cutover(
    says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, facts: Facts, title: str, step: str
) -> None:
    preview_of(monkeypatch, cutover, plan_move(facts, 5, GatesSection()))
    _, out, err = says("cutover", C, "--to", "5", "--dry-run")
    assert out.splitlines()[0] == title
    assert err.splitlines()[-1] == f"next: {step}"


def test_cutover_to_where_reads_are(says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    preview_of(monkeypatch, cutover, plan_move(ready(), 0, GatesSection()))
    code, out, _ = says("rollback", C, "--dry-run")
    assert (code, out.splitlines()[0]) == (0, "Reads already are at 0 %")


def test_replay(says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    preview_of(monkeypatch, replay, ReplayPlan(run=RUN, into="new", statements=("CREATE",)))
    _, out, err = says("replay", C, "--run", "r1", "--into", "new", "--dry-run")
    assert out.splitlines()[0] == "Replaying would do this"
    assert err.splitlines()[-1] == f"next: vecferry replay {C} --run r1 --into new"


def test_cancel(says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    migration = ready().migration
    assert migration is not None
    preview_of(monkeypatch, cancel, Cancellation(runs=(RUN,), migration=migration))
    _, out, err = says("cancel", C, "--dry-run")
    assert out.splitlines()[0] == "Cancelling would give up this"
    assert "run r1" in out
    assert err.splitlines()[-1] == f"next: vecferry cancel {C}"


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (("redrive", C), "Redriving would send these again; nothing was changed"),
        (("redrive", C, LETTER.key), "Redriving would send these again; nothing was changed"),
        (("discard", C, LETTER.key), "Discarding would give these up; nothing was changed"),
    ],
)
def test_dead_letters(
    says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], title: str
) -> None:
    monkeypatch.setattr(dlq, "letters", lambda *_: (LETTER,))
    _, out, err = says("dlq", *arguments, "--dry-run")
    assert out.splitlines()[0] == title
    assert LETTER.key in out
    assert err.splitlines()[-1] == f"next: {' '.join(('vecferry', 'dlq', *arguments))}"


def test_the_list_of_dead_letters_names_both_ways_out(
    says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlq, "letters", lambda *_: (LETTER,))
    _, out, err = says("dlq", "list", C)
    assert "publish the right state of its id" in out
    assert "once the cause is mended" in out
    assert "never stored" in out
    for command in (f"vecferry dlq redrive {C}", f"vecferry dlq discard {C}"):
        assert command in out
    assert err.splitlines()[-1] == f"next: vecferry dlq show {C} {LETTER.key}"


def test_a_letter_that_cannot_be_redriven_says_what_to_publish_and_not_to_discard_it(
    says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = Redriven(key=LETTER.key, result="13 violates a check", resolved=False)
    monkeypatch.setattr(dlq, "letters", lambda *_: (LETTER,))
    monkeypatch.setattr(dlq, "redrive", lambda *_: (stays,))
    code, _, err = says("dlq", "redrive", C)
    assert code == 1
    assert err.splitlines()[0] == (
        f"vecferry: {LETTER.key}: 13 violates a check; publish the right state of 'a' (or delete it) through the "
        f"application; then `vecferry dlq redrive {C} {LETTER.key}` resolves the letter"
    )
    assert err.splitlines()[-1] == f"next: vecferry dlq show {C} {LETTER.key}"
    assert "discard" not in err


def test_a_letter_is_shown_with_what_is_in_it_and_what_to_publish(
    says: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = Collection(
        name=C, space=Space(model="m", version="1", dimension=3, metric="cosine"), partitions=8, epoch=1
    )
    context = SimpleNamespace(collection=collection, events=LETTER.origin.topic)
    monkeypatch.setattr(dlq, "open_context", lambda *_, **__: nullcontext(context))
    value = EventEncoder(collection).upsert(
        b"a", np.ones(3, np.float32), b'{"price":"12,50"}', event_id=bytes(range(16)), occurred_at_ms=1_790_000_000_000
    )
    monkeypatch.setattr(dlq, "letters", lambda *_: (replace(LETTER, value=value),))
    _, out, err = says("dlq", "show", C, LETTER.key)
    shown = {line.split("  ")[0]: line for line in out.splitlines()}
    assert shown["id"].endswith("  a")
    assert shown["op"].endswith("  UPSERT")
    assert '{"price": "12,50"}' in shown["metadata"]
    assert shown["vector dims"].endswith("  3")
    assert "2026-09-21T" in shown["occurred at"]
    assert "publish the right state of 'a'" in shown["what to do"]
    assert err.splitlines()[-1] == f"next: vecferry dlq redrive {C} {LETTER.key}"
    monkeypatch.setattr(dlq, "letters", lambda *_: (replace(LETTER, value=b"junk", record_key=None),))
    _, out, _ = says("dlq", "show", C, LETTER.key)
    assert "it is no event" in out
    assert "it names no id" in out
