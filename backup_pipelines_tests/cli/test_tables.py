"""Tables: as wide as the terminal, whole in a pipe, coloured only where colours are."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines.cli.tables import Form, Screen, facts, table, wide
from backup_pipelines.storage.store import Store
from backup_pipelines_tests.cli.conftest import Cli, command, put_backup
from backup_pipelines_tests.terminals import on_terminal

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_COLUMNS = ("backup", "status", "rows", "label")
_ROWS = [
    ("20260115T020000Z-manual-9f3c1a", "completed", "1,200", "before the big import of January"),
    ("20260114T020000Z-manual-11aa22", "damaged", "7", ""),
]
_FORM = Form(numbers=("rows",), whole=("backup",), statuses=("status",))


def test_a_cell_as_long_as_an_article_is_cut_at_once() -> None:
    """Its length costs no more than reading it once."""
    said = table(("id", "body"), [("1", "é" * 200_000)], Form(numbers=("id",)), Screen(80))
    assert len(said) == 2
    assert wide(said[1]) == 80
    assert said[1].endswith("é…")


def _shown(*arguments: str, columns: int, **environment: str) -> str:
    """What a terminal of so many columns gets."""
    return on_terminal(command(*arguments), stream="stdout", columns=columns, **environment).shown


@pytest.fixture
def two_backups(own_store: Store, home: Path) -> list[str]:
    """The ids of two backups, with everything that makes lines long."""
    del home
    made = [
        put_backup(own_store, hours_old=hours, label="a label that is rather long", modules=modules)
        for hours, modules in ((3, ["leads"]), (5, []))
    ]
    return [entry.id for entry in made]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("what", ["list", "show", "status"])
def test_no_line_is_wider_than_the_terminal(
    two_backups: list[str], columns: int, what: str
) -> None:
    """But for one word that is longer; what people copy is there in one piece."""
    more = (two_backups[0],) if what == "show" else ()
    shown = _COLOUR.sub("", _shown(what, "crm", *more, columns=columns))
    wider = [line for line in shown.splitlines() if wide(line) > columns and " " in line.strip()]
    # A sentence of a guard, with what to do, takes what it needs; the table above may not.
    said = ("error: ", "warning: ", "unknown: ", "  ")
    assert [line for line in wider if what != "status" or not line.startswith(said)] == []
    assert two_backups[0] in shown


@pytest.mark.parametrize(
    ("columns", "there", "not_there"),
    [
        (200, ["a label that is rather long", "ada", "tables"], ["No room"]),
        (80, ["No room here for:", "completed", "--json has all"], ["ada"]),
        (40, ["label   a label that is rather long", "by      ada"], ["No room"]),
    ],
)
def test_a_narrow_terminal_gets_what_matters(
    two_backups: list[str], columns: int, there: list[str], not_there: list[str]
) -> None:
    """The other columns only where there is room, or each backup as a paragraph."""
    del two_backups
    shown = _COLOUR.sub("", _shown("list", "crm", columns=columns))
    assert [text for text in there if text not in shown] == []
    assert [text for text in not_there if text in shown] == []


def test_a_pipe_gets_everything_without_colours(cli: Cli, two_backups: list[str]) -> None:
    """However narrow the terminal is that it was started on."""
    out = cli("list", "crm").out
    assert "a label that is rather long" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1 + len(two_backups)


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colours_are_only_where_they_are_wanted(
    two_backups: list[str], environment: Mapping[str, str], is_coloured: bool
) -> None:
    """https://no-color.org: set and not empty."""
    del two_backups
    shown = _shown("list", "crm", columns=200, **environment)
    assert ("\x1b[32mcompleted\x1b[0m" in shown) == is_coloured
    assert ("\x1b" in shown) == is_coloured


def test_statuses_have_the_colour_of_what_they_say() -> None:
    """The same width as without."""
    plain = table(_COLUMNS, _ROWS, _FORM, Screen(200))
    painted = table(_COLUMNS, _ROWS, _FORM, Screen(200, colours=True))
    assert "\x1b[32mcompleted\x1b[0m" in painted[1]
    assert "\x1b[31mdamaged  \x1b[0m" in painted[2]
    assert [_COLOUR.sub("", line) for line in painted] == plain


def test_a_table_that_cannot_fit_is_paragraphs() -> None:
    """Words are wrapped, ids are not."""
    assert table(_COLUMNS, _ROWS, _FORM, Screen(40)) == [
        "backup  20260115T020000Z-manual-9f3c1a",
        "status  completed",
        "rows    1,200",
        "label   before the big import of January",
        "",
        "backup  20260114T020000Z-manual-11aa22",
        "status  damaged",
        "rows    7",
    ]
    assert table(_COLUMNS, _ROWS[:1], _FORM, Screen(30))[4:] == [
        "label   before the big import",
        "        of January",
    ]


def test_spare_columns_go_one_after_the_other() -> None:
    """And only as many as must."""
    form = Form(whole=("a", "b", "c"), spare=("c", "b"))
    row = [("a" * 10, "b" * 10, "c" * 10)]
    shown = {width: table("abc", row, form, Screen(width)) for width in (34, 33, 21)}
    assert shown[34][1] == "aaaaaaaaaa  bbbbbbbbbb  cccccccccc"
    assert shown[33][1:] == ["aaaaaaaaaa  bbbbbbbbbb", "No room here for: c; --json has", "all."]
    assert shown[21][1:] == ["aaaaaaaaaa", "No room here for: c,", "b; --json has all."]


def test_wide_and_combining_characters_take_the_room_that_they_take() -> None:
    """A table of Japanese names lines up."""
    lines = table(("name", "n"), [("表表", "1"), ("e\u0301", "2")], Form(), Screen())
    assert lines == ["name  n", "表表  1", "e\u0301     2"]


@given(
    rows=st.lists(st.tuples(*[st.text(max_size=30)] * 3), max_size=5),
    width=st.integers(1, 120),
)
def test_whatever_is_in_a_table_only_single_words_are_wider_than_the_screen(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    """And without a screen each row is one line."""
    form = Form(numbers=("n",), whole=("id",), spare=("text",))
    lines = table(("id", "n", "text"), rows, form, Screen(width))
    assert [line for line in lines if wide(line) > width and " " in line.strip()] == []
    assert len(table(("id", "n", "text"), rows, form, Screen())) == 1 + len(rows)


def test_facts_hang_where_they_are_too_long() -> None:
    """And a status among them has its colour."""
    pairs = [("status", "damaged"), ("reason", "one two three four five six"), ("label", "")]
    assert facts(pairs, Screen(28, colours=True), status="status") == [
        "status  \x1b[31mdamaged\x1b[0m",
        "reason  one two three four",
        "        five six",
    ]
    assert facts(pairs, Screen())[1] == "reason  one two three four five six"
    assert facts([("backup", "x" * 20), ("n", "1")], Screen(24)) == [
        "backup",
        f"  {'x' * 20}",
        "n       1",
    ]
