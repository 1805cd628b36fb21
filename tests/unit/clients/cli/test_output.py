"""What commands print."""

import json

import pytest

from clients.cli.output import Output, print_error
from services.platform.errors import NotFoundError, StaleError


class LeaseLost(StaleError):
    """Another reader holds the request."""


def test_no_cell_of_a_table_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    release, note = "99998efad9a447e19fa94bf0f1234567", "a sentence of quite some length " * 3
    Output(as_json=False).table({}, ("Release", ">Labels", "Note"), [(release, "48", note)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert release in lines[1]
    assert note.strip() in lines[1]


def test_an_empty_table_is_a_sentence_and_json_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=False).table({}, ("A",), [], empty="No release yet.")
    assert capsys.readouterr().out == "No release yet.\n"
    Output(as_json=True).table({"releases": []}, ("A",), [])
    assert capsys.readouterr().out == '{"releases": []}\n'


def test_markup_in_data_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table({}, ("Name",), [("[red]x[/]",)])
    assert "[red]x[/]" in capsys.readouterr().out


def test_an_error_is_one_line_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(NotFoundError("There is no\n  such frame."), as_json=False, subject="a.png")
    assert capsys.readouterr().err == "Error: a.png: There is no such frame. [NOT_FOUND]\n"
    print_error(LeaseLost("Pull again."), as_json=True)
    assert json.loads(capsys.readouterr().err) == {
        "error": {"code": "ABORTED", "reason": "LEASE_LOST", "message": "Pull again."}
    }
