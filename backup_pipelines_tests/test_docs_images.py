"""Every picture in the docs is shown by a page, and made by a test in the browser."""

import ast
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_pipelines_tests.test_docs import PAGES, PROJECT, rows
from backup_pipelines_tests.ui.walking import TASKS, documented

IMAGES = PROJECT / "docs" / "images"
UI_TESTS = PROJECT / "backup_pipelines_tests" / "ui"

_WINDOW = (1440, 900)
_LARGEST = 300_000


def called(method: str) -> Iterator[ast.Call]:
    """The calls of this method, or class, in the tests of the UI."""
    for path in sorted(UI_TESTS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == method:
                yield node


def texts(nodes: list[ast.expr]) -> list[str]:
    """Those of them that are texts."""
    found = (node.value for node in nodes if isinstance(node, ast.Constant))
    return [value for value in found if isinstance(value, str)]


def made() -> list[str]:
    """The names of the pictures that the tests take, in every place where one is taken."""
    pictures = [f"{texts(call.args)[0]}.png" for call in called("save")]
    # Where the page is not of Dagster's UI, by the browser itself.
    sources = (path.read_text() for path in UI_TESTS.glob("test_*.py"))
    return pictures + [name for text in sources for name in re.findall(r'"([\w-]+\.png)"', text)]


def test_every_picture_is_shown_and_made_by_a_test() -> None:
    """What the tests make, what there is, and what the pages show are the same."""
    shown: set[str] = set()
    for page in PAGES:
        shown |= set(re.findall(r"\]\((?:docs/)?images/([^)]+)\)", page.read_text()))
    there = {path.name for path in IMAGES.iterdir()}
    assert shown == there == set(made())
    assert len(made()) == len(set(made())), "two tests make the same picture"


@pytest.mark.parametrize("path", sorted(IMAGES.iterdir()), ids=lambda path: path.name)
def test_a_picture_is_of_the_one_window_and_not_too_big(path: Path) -> None:
    """All are taken in a window of the same size, and a page loads quickly."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == _WINDOW
    assert path.stat().st_size < _LARGEST


def test_every_way_of_the_ten_tasks_is_walked() -> None:
    """The ways of tasks.md are those of the tests that count them, for each of the ten tasks."""
    walked = {way for call in called("Walk") for way in texts(call.args)} | {"6a"}
    assert len(documented()) == len(rows(TASKS.read_text()))
    assert set(documented()) == walked
    assert {int(way.rstrip("abc")) for way in walked} == set(range(1, 11))
