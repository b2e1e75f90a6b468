"""How numbers and times read."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_pipelines.cli.output import (
    print_table,
)
from backup_pipelines.wording import age, clean, count, size

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (999_949, "999.9 KB"),
        (999_999, "1.0 MB"),
        (4_121_653, "4.1 MB"),
        (3 * 10**12, "3.0 TB"),
        (10**19, "10000.0 PB"),
    ],
)
def test_sizes_have_one_decimal_and_a_decimal_unit(number: int, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(seconds=119), "119 s ago"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=3, minutes=59), "3 h ago"),
        (timedelta(hours=36), "36 h ago"),
        (timedelta(days=2), "2 d ago"),
        (timedelta(days=400), "400 d ago"),
        (timedelta(seconds=-90), "in the future"),
    ],
)
def test_ages_are_whole_numbers_of_a_unit(passed: timedelta, said: str) -> None:
    assert age(NOW - passed, NOW) == said


def test_nouns_agree_with_their_number() -> None:
    assert [count(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


def test_control_characters_are_replaced() -> None:
    assert clean("a\tb\x1b]0;x\x07\nc é 表") == "a?b?]0;x? c é 表"


def test_columns_line_up_and_empty_ones_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", "", 5), ("longer", "", 1234)]
    print_table(("name", "nothing", "rows"), rows, numbers=("rows",))
    assert capsys.readouterr().out == "name    rows\na          5\nlonger  1234\n"
