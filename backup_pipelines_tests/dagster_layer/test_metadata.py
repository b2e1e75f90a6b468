"""What people and databases have written, in the tables and lists that the UI shows."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from backup_pipelines.dagster_layer import (
    glance,
    health_metadata,
    metadata,
    operation_metadata,
    restore_metadata,
)
from backup_pipelines.health.finding import Finding
from backup_pipelines.health.health import Health, assess
from backup_pipelines.storage.store import Store
from backup_pipelines.trail.audit import Record
from backup_pipelines_tests.dagster_layer.conftest import SHOP

_NOW = datetime(2026, 1, 15, 2, tzinfo=UTC)

# As a browser would take it: a cell more, a link, a picture that tells who looks, and HTML.
_WRITTEN = (
    "a | b \\| c\n[click](http://x) ![p](http://y) [r] <img src=z> &lt;b> \\<i> \\[q](http://w)"
)


def _inline(markdown: str) -> list[Token]:
    """The texts of a markdown document: its cells, points and paragraphs."""
    parser = MarkdownIt("commonmark").enable("table")
    return [token for token in parser.parse(markdown) if token.type == "inline"]


def _words(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def _looked(store: Store) -> Health:
    finding = Finding(guard="intact", status="error", message=_WRITTEN, advice=_WRITTEN)
    return assess(store, SHOP, _NOW).model_copy(update={"findings": [finding]})


def _guards(store: Store) -> str:
    return str(health_metadata.of_health(_looked(store))["guards"].value)  # type: ignore[union-attr]


def _glance(store: Store) -> str:
    return glance.at_a_glance(_looked(store))


def _operations(store: Store) -> str:
    del store
    record = Record(
        operation="delete",
        outcome="failed",
        operator=_WRITTEN,
        at=_NOW,
        message=_WRITTEN,
        reason=_WRITTEN,
        system="shop",
        sequence=1,
        previous="",
    )
    return str(operation_metadata.newest("shop", [record])["who_did_what"].value)  # type: ignore[union-attr]


def _plan(store: Store) -> str:
    del store
    numbers = dict.fromkeys(("insert", "update", "delete", "unchanged"), 1)
    one = {"table": _WRITTEN, "changed_columns": {_WRITTEN: 1}, "creates": False, **numbers}
    return restore_metadata.plan_table({"tables": [one]})


def _warnings(store: Store) -> str:
    del store
    return str(metadata.bullets([_WRITTEN]).value)


@pytest.mark.parametrize("shown", [_guards, _glance, _operations, _plan, _warnings])
def test_what_somebody_wrote_is_shown_as_it_is(shown: Callable[[Store], str], store: Store) -> None:
    """On one line, to the letter: no cell of its own, no link, no picture, no HTML."""
    wanted = " ".join(_WRITTEN.split())
    cells = [token for token in _inline(shown(store)) if "click" in token.content]
    assert cells
    for cell in cells:
        assert wanted in _words(cell)
        kinds = {child.type for child in cell.children or ()}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close"}
