"""Selections of a backup: how they read, and which of them make no sense."""

import pytest

from backup_pipelines.errors import Refused
from backup_pipelines.restoring.selection import Selection, select


def test_a_selection_reads_as_a_phrase() -> None:
    """What was asked for stands in plans, in words."""
    assert str(Selection()) == "everything"
    assert str(Selection(modules=("crm",), tables=("a", "b"))) == "modules crm and tables a, b"
    assert str(Selection(tables=("a",), key="7")) == "record 7 of a"
    assert str(Selection(tables=("a",), key="7", with_children=True)) == (
        "record 7 of a with what referenced it"
    )


@pytest.mark.parametrize(
    "selection",
    [
        Selection(key="1"),
        Selection(tables=("a", "b"), key="1"),
        Selection(modules=("m",), tables=("a",), key="1"),
        Selection(tables=("a",), with_children=True),
    ],
)
def test_a_key_without_its_one_table_is_refused(selection: Selection) -> None:
    """A key belongs to one table, children to one record."""
    with pytest.raises(Refused):
        select(None, selection)  # type: ignore[arg-type]


def test_a_record_is_of_a_qualified_table() -> None:
    """A table without a schema is in public, as everywhere."""
    assert Selection(tables=("a",), key="1").record == "public.a"
    assert Selection(tables=("a",)).record is None
