"""What the pages for people in a hurry quote is what the program says; what they compare is dated.

Their links, commands, files and words are checked with those of all pages by `test_docs.py`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from backup_pipelines.onboarding import reader_role
from backup_pipelines.onboarding.rendering import owner_variable
from backup_pipelines_tests.test_docs import PAGES, PROJECT, README, rows, section

EMERGENCY = PROJECT / "docs/emergency.md"
STARTED = PROJECT / "docs/getting-started.md"
COMPARISON = PROJECT / "docs/comparison.md"

_SPAN = re.compile(r"`([^`\n]+)`")
_QUOTING = ("it says", "the plan has")


@cache
def said_by_the_code() -> frozenset[str]:
    """Every text in the package, the fixed parts of those that are put together too."""
    trees = (ast.parse(path.read_text()) for path in PROJECT.glob("backup_pipelines/**/*.py"))
    constants = (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return frozenset(n.value for n in constants if isinstance(n.value, str))


def is_said(quoted: str) -> bool:
    """Whether a quotation is a part of some text of the package."""
    return any(quoted in text for text in said_by_the_code())


def quotations() -> Iterator[str]:
    """What the first columns of the emergency page's tables of outputs quote."""
    tables = re.findall(r"(?:^\|.*\n)+", EMERGENCY.read_text(), re.MULTILINE)
    for table in tables:
        if table.startswith(tuple(f"| {head} |" for head in _QUOTING)):
            for row in rows(table):
                yield from _SPAN.findall(row[0])


def test_the_emergency_page_has_tables_of_outputs() -> None:
    """The next test has something to look at."""
    assert len(list(quotations())) >= 12


@pytest.mark.parametrize(
    "quoted", [*quotations(), "either done or not begun", "does not exist any more"]
)
def test_what_the_emergency_page_quotes_is_what_the_program_says(quoted: str) -> None:
    """Whoever looks for a word of the page in an output will find it."""
    assert quoted in EMERGENCY.read_text()
    assert is_said(quoted)


def test_the_emergency_page_leads_to_each_of_its_parts() -> None:
    """The table at its head has a row for every part, in their order."""
    text = EMERGENCY.read_text()
    numbers = re.findall(r"^## (\d)\.", text, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 7)]
    assert re.findall(r"\[(\d)\]\(#\1-", text) == numbers


def test_getting_started_gives_the_role_that_init_proposes() -> None:
    """The statements of its output are those of the code and of the README, with its names."""
    text = STARTED.read_text()
    shown = re.findall(r"^  ((?:CREATE|GRANT) .*;)$", text, re.MULTILINE)
    readme = section(README, "Your own database")
    pasted = re.findall(r"^((?:CREATE|GRANT) .*?;)", readme, re.MULTILINE)
    assert [line.replace('"', "") for line in shown] == pasted
    assert any(reader_role.READER in line for line in shown)


def test_getting_started_sets_the_variable_that_init_writes() -> None:
    """The owner's variable is called as in the YAML that init makes."""
    assert f"export {owner_variable('SHOP_DATABASE_URL')}=" in STARTED.read_text()


_SHOWN = (
    "may change tables, which a backup never needs; for a role that only reads, ",
    "For backups put the URL of a role that only reads into ",
    "for restores that of the tables' owner into ",
    "Read it, change what you like, then: ",
    "Take it: backup-pipelines backup ",
    "by no transaction pooler",
    "a second write was refused",
    "nobody is told by it",
    "due at once, when the daemon runs",
    "ready for a backup",
    "read back as written",
    "equal after a restore",
    "not applied in the drill: ",
    "proved equal",
    "As it was before",
    "Take it back",
)


@pytest.mark.parametrize("shown", _SHOWN)
def test_what_getting_started_shows_is_what_the_program_says(shown: str) -> None:
    """The fixed parts of its outputs are those of the code."""
    assert shown in STARTED.read_text()
    assert is_said(shown)


def test_the_comparison_says_which_version_of_each_was_read() -> None:
    """Each product that is compared has a row with a version, a commit or a date."""
    text = COMPARISON.read_text().partition("\n## ")[0]
    read = {row[0].strip("`"): row[1] for row in rows(text)}
    head = section(COMPARISON, "Side by side").strip().splitlines()[0]
    compared = [cell.strip(" `") for cell in head.strip("|").split("|")][1:]
    assert set(compared) == set(read)
    assert all(
        re.search(r"commit [0-9a-f]{7}|version \d+|\d+\.\d+", what) for what in read.values()
    )
    assert re.search(r"read on \d{4}-\d\d-\d\d", text)


def test_the_comparison_has_a_cell_for_each_product() -> None:
    """No row leaves one out, and none is empty: what was not found is said."""
    compared = rows(section(COMPARISON, "Side by side"))
    assert len(compared) > 15
    for row in compared:
        cells = [cell.strip() for cell in row]
        assert len(cells) == 6 and all(cells), row[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_of_ours_that_pages_name_are_in_the_readme(page: Path) -> None:
    """A variable that begins with BACKUP_ is one of the README's table."""
    listed = section(README, "Environment variables")
    for name in re.findall(r"`(BACKUP_[A-Z_]+)`", page.read_text()):
        assert f"`{name}`" in listed, name
