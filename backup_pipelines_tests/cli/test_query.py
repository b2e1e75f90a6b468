"""`query`: SQL over backups on the command line."""

import re
import subprocess
from pathlib import Path

import pytest

from backup_pipelines import catalog, layout
from backup_pipelines.storage.store import Store
from backup_pipelines.trail import audit
from backup_pipelines_tests.cli.conftest import Cli, command, put_backup

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def recipes(system: str) -> list[tuple[str, str]]:
    """The BACKUP and the SQL of every query of a system that operations.md shows."""
    return re.findall(rf'^backup-pipelines query {system} (\S+) "(.+)"$', _PAGE.read_text(), re.M)


def test_a_backup_is_asked(cli: Cli, backup_id: str) -> None:
    """A table for people, one JSON document, or CSV; the exit code is 0."""
    sql = "SELECT 1 AS n, count(*) > 0 AS some, NULL AS nothing, '' AS empty FROM auth.users"
    shown = cli("query", "dcim", "latest", sql)
    assert shown.code == 0, shown.err
    headings, row = shown.out.splitlines()
    assert headings.split() == ["n", "some", "nothing"]
    assert row.split() == ["1", "true", "NULL"]
    assert f"1 row of {backup_id}" in shown.err

    document = cli("query", "dcim", backup_id, sql, "--json").document
    assert document["backups"] == [backup_id]
    assert document["tables"] == ["auth.users"]
    assert document["columns"][0] == {"name": "n", "type": "INTEGER"}
    assert (document["rows"], document["truncated"]) == ([[1, True, None, ""]], False)

    csv = cli("query", "dcim", "latest", sql, "--csv")
    assert csv.out == '"n","some","nothing","empty"\n"1","true",,""\n'


def test_rows_are_bounded_unless_they_are_csv(cli: Cli, backup_id: str) -> None:
    """A thousand of them or as many as wanted, and it says that there are more."""
    sql = f"SELECT i FROM range(3000) AS t(i) -- of {backup_id}"
    shown = cli("query", "dcim", "latest", sql)
    assert len(shown.out.splitlines()) == 1001
    assert "1,000 rows" in shown.err and "there are more: --rows N, or --csv" in shown.err
    document = cli("query", "dcim", "latest", sql, "--rows", "2", "--json").document
    assert (document["rows"], document["truncated"]) == ([[0], [1]], True)
    assert len(cli("query", "dcim", "latest", sql, "--csv").out.splitlines()) == 3001
    assert len(cli("query", "dcim", "latest", sql, "--csv", "--rows", "2").out.splitlines()) == 3


def test_a_reader_of_csv_may_have_seen_enough(backup_id: str) -> None:
    """What `head` closes ends the command quietly."""
    sql = "SELECT i FROM range(1000000) AS t(i)"
    words = command("query", "dcim", backup_id, sql, "--csv")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b'"i"\n'
        process.stdout.close()
        said = process.stderr.read().decode()
        assert (process.wait(), "rror" in said) == (0, False), said


def test_many_backups_are_asked_and_the_trail_knows(cli: Cli, own_store: Store) -> None:
    """`all` and FROM..TO; who asked is in the audit trail, what was asked is not."""
    ids = {put_backup(own_store, hours_old=hours).id for hours in (1, 30)}
    sql = "SELECT count(*) AS tables FROM duckdb_tables() WHERE schema_name = 'secret'"
    done = cli("query", "crm", "all", sql, "--json", "--as", "ada")
    assert done.code == 0, done.err
    assert set(done.document["backups"]) == ids
    oldest = catalog.backups(own_store, "crm")[-1]
    done = cli("query", "crm", f"..{oldest.id}", sql, "--json")
    assert done.document["backups"] == [oldest.id]
    first, *_ = [
        audit.Record.model_validate_json(own_store.get(layout.audit_key("crm", n))) for n in (1, 2)
    ]
    assert (first.operation, first.outcome, first.operator) == ("query", "done", "ada")
    assert "of no table in 2 backups" in first.message
    assert "secret" not in first.model_dump_json()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["query", "crm", "latest", "SELECT 1"], "crm has no full backup yet"),
        (["query", "crm", "all", "SELECT 1"], "crm has no completed backup in all"),
        (["query", "crm", "x..y", "SELECT 1"], "x is neither a date"),
        (["query", "crm", "latest"], "Missing argument 'SQL'"),
        (["query", "nobody", "latest", "SELECT 1"], "nobody"),
        (["query", "crm", "latest", "SELECT 1", "--csv", "--json"], "either --csv or --json"),
        (["query", "crm", "latest", "SELECT 1", "--store", "second"], "no second store"),
    ],
)
def test_what_is_refused(cli: Cli, own_store: Store, arguments: list[str], said: str) -> None:
    """One sentence on stderr, exit code 2."""
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_a_statement_that_would_write_is_refused(cli: Cli, backup_id: str, tmp_path: Path) -> None:
    """Exit code 2, one sentence, no file."""
    del backup_id
    out = tmp_path / "out.csv"
    result = cli("query", "dcim", "latest", f"COPY auth.users TO '{out}'")
    assert (result.code, result.out) == (2, "")
    assert "give one statement that returns rows" in result.err
    assert not out.exists()
    result = cli("query", "dcim", "latest", "SELECT nope FROM auth.users")
    assert result.code == 2
    assert 'Referenced column "nope" not found' in result.err


def test_the_recipe_of_a_server_that_disappeared(cli: Cli, backup_id: str) -> None:
    """What operations.md says of it finds a server of the sample data."""
    found = cli("query", "dcim", backup_id, "SELECT hostname, id FROM servers LIMIT 1", "--json")
    [[hostname, server]] = found.document["rows"]
    [(_, sql)] = recipes("dcim")
    asked = cli("query", "dcim", "all", sql.replace("web-01", hostname), "--json")
    [[identity, last_seen, backup]] = asked.document["rows"]
    assert (identity, backup) == (server, backup_id) and last_seen
