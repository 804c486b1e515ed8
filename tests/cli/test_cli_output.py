"""What is printed, and the configuration that ``init`` writes."""

from __future__ import annotations

import io
import json
import logging
import tomllib
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel
from step_clock import StepClock
from vecferry.backfill.progress import Progress
from vecferry.cli.init import TEMPLATE
from vecferry.cli.main import COMMANDS, main
from vecferry.cli.output import Console, Result, Table, plain
from vecferry.cli.progress import document, figures, reporting
from vecferry.config import Config, GatesSection, load_config
from vecferry.errors import Refused, Unavailable
from vecferry.migration.gates import GateResult, Verdict


def test_a_plain_table_is_aligned_and_has_no_trailing_space() -> None:
    table = Table(title="T", columns=("gate", "lag"), rows=[("a", None), ("long name", 1.25)])
    assert plain(table) == "GATE       LAG\na          -\nlong name  1.2\n"


def test_results_go_to_the_streams_that_they_belong_to() -> None:
    result = Result(
        data={"gates": (GateResult(name="g", verdict=Verdict.FAIL, measured="m", required="r", remedy="do"),)},
        tables=(Table(title="First", columns=("a",), rows=[]), Table(title="", columns=("b",), rows=[("x",)])),
        problems=("p",),
        next_steps=("vecferry status x",),
    )
    out, err = io.StringIO(), io.StringIO()
    Console("table", out, err).emit(result)
    assert out.getvalue() == "First\nnone\n\nB\nx\n"
    assert err.getvalue() == "vecferry: p\n\nnext: vecferry status x\n"
    out, err = io.StringIO(), io.StringIO()
    Console("json", out, err).emit(result)
    assert json.loads(out.getvalue()) == {
        "gates": [{"name": "g", "verdict": "fail", "measured": "m", "required": "r", "remedy": "do"}],
        "next_steps": ["vecferry status x"],
    }
    assert [json.loads(line) for line in err.getvalue().splitlines()] == [{"problem": "p"}]


def test_an_error_is_a_document_on_stdout_and_every_line_of_stderr_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException] = [
        Refused(["first; do this", "second; do that"]),
        Unavailable("Kafka at h:1 does not answer"),
        ZeroDivisionError("by zero"),
        KeyboardInterrupt(),
    ]

    def failing(_args: object, console: Console) -> Result:
        console.say("under way")
        logging.getLogger("vecferry.journal").warning("a later version wrote %s", "this")
        raise raised.pop(0)

    monkeypatch.setattr(COMMANDS["init"], "run", failing)
    for code, kind, problems in (
        (3, "refused", ["first; do this", "second; do that"]),
        (1, "unavailable", ["Kafka at h:1 does not answer"]),
        (1, "internal", ["internal error: ZeroDivisionError: by zero; --debug shows where"]),
        (130, "interrupted", ["interrupted"]),
    ):
        assert main(["init", "--output", "json"]) == code
        out, err = capsys.readouterr()
        assert json.loads(out) == {"error": {"kind": kind, "problems": problems}, "exit_code": code}
        first, logged, *rest = [json.loads(line) for line in err.splitlines()]
        assert first == {"message": "under way"}
        assert (logged["level"], logged["message"]) == ("WARNING", "a later version wrote this")
        assert rest == [{"problem": problem} for problem in problems]


@pytest.mark.parametrize("form", [["--output", "json"], ["--output=json"]])
def test_a_command_line_that_is_wrong_is_json_where_json_was_asked_for(
    capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    assert main(["cutover", "products", "--to", "half", *form]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "usage"
    assert "'half' is not a percentage" in json.loads(out)["error"]["problems"][0]
    assert [list(json.loads(line)) for line in err.splitlines()] == [["problem"]]


def test_what_has_no_place_in_json_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(TypeError, match="bytes"):
        Console("json", io.StringIO(), io.StringIO()).emit(Result(data={"value": b"x"}, tables=()))


def test_progress_is_one_json_line_a_second_and_shows_each_phase_at_once() -> None:
    err, clock = io.StringIO(), StepClock()
    with reporting(Console("table", io.StringIO(), err), clock=clock) as show:
        for tick in range(10):
            clock.now_s = tick * 0.25
            show(Progress(phase="copying", rows=tick))
        show(Progress(phase="closing"))
        show(Progress(phase="closing", percent=100.0))
    seen = [json.loads(line) for line in err.getvalue().splitlines()]
    assert [(line["phase"], line["rows"]) for line in seen] == [
        ("copying", 0),
        ("copying", 4),
        ("copying", 8),
        ("closing", 0),
        ("closing", 0),
    ]
    assert seen[-1]["percent"] == 100.0


def test_a_job_without_chunks_names_none_and_figures_are_as_exact_as_they_are_known() -> None:
    moment = Progress(phase="comparing rows", rows=1, percent=33.33333, rows_per_s=5.123456, eta_s=0.66666)
    assert figures(moment) == "1 row, 5 rows/s"
    assert document(moment) == {
        "phase": "comparing rows",
        "rows": 1,
        "percent": 33.3,
        "rows_per_s": 5.1,
        "eta_s": 0.7,
        "throttled": None,
        "note": "",
    }
    assert document(Progress(phase="copying", chunks=2))["chunks_done"] == 0
    assert figures(Progress(phase="copying", chunks=1, rows=2)) == "0 of 1 chunk, 2 rows"


def test_init_writes_a_configuration_and_never_overwrites_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VECFERRY_CONFIG", raising=False)
    assert main(["init", "--dry-run"]) == 0
    assert not (tmp_path / "vecferry.toml").exists()
    assert TEMPLATE in capsys.readouterr().out
    assert main(["init"]) == 0
    written = tmp_path / "vecferry.toml"
    assert load_config(written).migration("products").source == "old"
    written.write_text("mine")
    assert main(["init"]) == 3
    assert "vecferry.toml exists" in capsys.readouterr().err
    assert written.read_text() == "mine"
    assert main(["init", "--config", "no/such/folder.toml"]) == 2


def test_the_template_names_every_key_and_its_commented_values_are_the_defaults() -> None:
    keys = set(_keys(Config))
    for key in keys:
        assert f"{key} = " in TEMPLATE or f".{key}]" in TEMPLATE or f"[{key}" in TEMPLATE or f".{key}." in TEMPLATE, key
    # With every comment of a single '#' before a key taken away, the file must say the same.
    lines = []
    for line in TEMPLATE.splitlines():
        bare = line.removeprefix("# ")
        commented = line.startswith("# ") and " = " in bare and bare.split(" = ")[0].replace("_", "").isalnum()
        lines.append(bare if commented else line)
    assert load_config(tomllib.loads("\n".join(lines))) == load_config(tomllib.loads(TEMPLATE))
    assert GatesSection() == load_config(tomllib.loads(TEMPLATE)).gates


def _keys(model: type[BaseModel]) -> typing.Iterator[str]:
    """Every key that a user may write, of all sections; the names that users choose are not among them."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from (key for key in _keys(part) if key != "options")
