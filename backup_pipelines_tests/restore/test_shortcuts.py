"""What a restore does not read, stage or write twice, and that nothing is missed by it."""

from typing import Any

import pytest

from backup_pipelines.exporting import export
from backup_pipelines.postgres import staging
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite

_BIG = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, len int GENERATED ALWAYS AS"
    " (length(v)) STORED); INSERT INTO t SELECT g, repeat(md5(g::text), 8), g"
    " FROM generate_series(1, 5000) g"
)


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were staged whole, table by table."""
    rows: list[int] = []
    original = staging._load

    def load(connection: Any, store: Any, table: Any, *more: Any) -> None:
        original(connection, store, table, *more)
        rows.append(sum(part.rows for part in table.parts))

    monkeypatch.setattr(staging, "_load", load)
    return rows


def test_rows_that_came_and_went_are_found_by_keys(
    any_server: Server, make_site: MakeSite, staged: list[int]
) -> None:
    """Deleted and inserted rows need no staging of the others; an updated one does."""
    site = make_site(any_server, _BIG)
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM t WHERE id % 1000 = 7", "INSERT INTO t VALUES (9001, 'x', 1)")
    assert site.counts(site.plan(entry)) == {"t": (5, 0, 1)}
    assert site.counts(site.plan(entry, mode="upsert")) == {"t": (5, 0, 0)}
    site.restore(entry)
    assert site.image() == before
    assert staged == []
    site.run("DELETE FROM t WHERE id = 7", "UPDATE t SET n = n + 1 WHERE id = 8")
    assert site.counts(site.plan(entry)) == {"t": (1, 1, 0)}
    assert staged == [5000]


def test_pages_that_are_as_they_were_are_not_staged(
    any_server: Server,
    make_site: MakeSite,
    staged: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a table in several parts only those are staged whose pages have changed."""
    monkeypatch.setattr(export, "_PIECE_BYTES", 256 * 1024)
    site = make_site(any_server, _BIG)
    entry, before = site.back_up(), site.image()
    [table] = entry.tables
    assert len(table.parts) > 4
    site.run("UPDATE t SET n = -1 WHERE id = 1", "DELETE FROM t WHERE id = 4000")
    assert site.counts(site.plan(entry)) == {"t": (1, 1, 0)}
    assert 0 < sum(staged) < 4000
    site.restore(entry)
    assert site.image() == before
    site.run("DELETE FROM t WHERE id = 4001")
    site.restore(entry, mode="upsert")
    assert site.image() == before


def test_an_empty_table_takes_the_rows_at_once(
    any_server: Server, make_site: MakeSite, staged: list[int]
) -> None:
    """Rows for an empty table are copied into it without a stage."""
    site = make_site(any_server, _BIG)
    entry, before = site.back_up(), site.image()
    site.run("TRUNCATE t")
    assert site.counts(site.plan(entry)) == {"t": (5000, 0, 0)}
    site.restore(entry)
    assert site.image() == before
    assert staged == []
