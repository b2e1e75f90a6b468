"""Drift of a table since its backup: each difference is fine, adapted or refused."""

from typing import Any

import pytest

from backup_pipelines.manifest import Column, Table
from backup_pipelines.postgres.introspect import LiveColumn, LiveTable
from backup_pipelines.postgres.types import codec_for
from backup_pipelines.restoring.drift import drift_of
from backup_pipelines_tests.bare_table import bare_table


def _column(name: str, kind: str = "int4", shown: str = "", **more: Any) -> LiveColumn:
    codec = codec_for(
        base_schema="pg_catalog", base_name=kind, base_kind="b", type_mod=-1, is_domain=False,
        has_text_cast_function=False, as_text=False,
    )  # fmt: skip
    plain: dict[str, Any] = {"not_null": False, "default": None, "identity": "", "generated": ""}
    return LiveColumn(name, shown or kind, f"pg_catalog.{kind}", codec, **(plain | more))


def _live(*columns: LiveColumn, kind: str = "r") -> LiveTable:
    return bare_table(kind=kind, columns=columns)


def _backup(*columns: Column) -> Table:
    return Table(
        schema="public", name="t", module="m", columns=columns, rows=0, digest="0" * 16,
        size_bytes=0, source_bytes=0, seconds=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("now", "verdicts"),
    [
        ([_column("a")], []),
        ([_column("a", not_null=True)], ["fine"]),
        ([_column("a", "int8")], ["adapted"]),
        ([_column("a", "int2")], ["refused"]),
        ([_column("a", "text")], ["refused"]),
        ([_column("a"), _column("b")], ["adapted"]),
        ([_column("a"), _column("b", not_null=True)], ["refused"]),
        ([_column("a"), _column("b", not_null=True, default="1")], ["adapted"]),
        ([_column("a"), _column("b", not_null=True, identity="always")], ["adapted"]),
        ([_column("a"), _column("b", generated="stored")], ["adapted"]),
        ([_column("a", generated="stored")], ["adapted"]),
        ([_column("b", not_null=True, default="1")], ["adapted", "adapted"]),
    ],
)
def test_every_difference_has_a_verdict(now: list[LiveColumn], verdicts: list[str]) -> None:
    """A restore knows before it starts what fits, what it adapts, and what it refuses."""
    found = drift_of(_backup(_column("a").described()), _live(*now))
    assert [difference.verdict for difference in found.differences] == verdicts
    assert found.is_exact == (not verdicts or verdicts == ["fine"])


def test_a_renamed_column_is_suspected() -> None:
    """A column that is gone while another of its type is new may have been renamed."""
    found = drift_of(_backup(_column("old").described()), _live(_column("new")))
    assert "was it renamed to new?" in found.adapted[0]


def test_a_lost_table_and_a_repartitioned_one_are_refused() -> None:
    """Without its table, or with one of another kind, nothing can be restored."""
    backup = _backup(_column("a").described())
    assert drift_of(backup, None).refused == ("public.t does not exist any more",)
    assert "partitioned" in drift_of(backup, _live(_column("a"), kind="p")).refused[0]
