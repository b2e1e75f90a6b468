"""The two cycles that AssetDex ran by hand (REQUIREMENTS.md), on the dcim demo."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ExcludedSpec, ModuleSpec, System
from backup_pipelines_tests.fix_postgres import Database
from backup_pipelines_tests.fix_restore import Site

_NAMED = (
    "web-prod-01", "web-prod-02", "web-prod-03", "db-primary-01", "db-replica-01", "storage-01",
)  # fmt: skip

# Not of those that others replicate: their deletion would change the others as well.
_DELETE_FIVE = (
    "DELETE FROM servers WHERE hostname IN (SELECT hostname FROM servers s WHERE NOT EXISTS"
    " (SELECT FROM servers r WHERE r.primary_server_id = s.id) ORDER BY 1 LIMIT 5)"
)

_COMPARED = (
    "SELECT hostname, serial_number, p::text FROM servers s"
    " LEFT JOIN power_specs p ON p.server_id = s.id ORDER BY hostname"
)


@pytest.fixture(scope="module")
def template(server: EmbeddedServer) -> Iterator[str]:
    """The dcim demo with 271 servers, to be copied."""
    name = "restore_dcim"
    create_database(server.url, "dcim", database=name)
    yield name
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def site(server: EmbeddedServer, template: str, store: Store) -> Iterator[Site]:
    """A database of its own for each test."""
    name = "restore_dcim_copy"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER dcim_owner".encode())
    system = System(
        system="dcim",
        database_url_env="DCIM_DATABASE_URL",
        modules={"all": ModuleSpec(tables=["public.*", "auth.*"])},
        excluded=[
            ExcludedSpec(table="auth.sessions", reason="tokens"),
            ExcludedSpec(table="auth.refresh_tokens", reason="tokens"),
        ],
    )
    urls = [server.url(name, user) for user in ("postgres", "dcim_owner", "dcim_backup")]
    yield Site(Database(name, *urls), store, system)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _row_versions(site: Site) -> dict[str, dict[Any, Any]]:
    """The transaction that wrote each row, by table and primary key."""
    with psycopg.connect(site.database.admin_url) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r'"
                " AND relnamespace::regnamespace::text IN ('public', 'auth')"
            )
        ]
        return {
            table: dict(
                connection.execute(f"SELECT t.ctid::text, t.xmin::text FROM {table} t".encode())
            )
            for table in tables
        }


def _cycle(site: Site, delete: str, servers: int, deleted: int) -> None:
    entry, before = site.back_up(), site.rows(_COMPARED)
    assert len(before) == servers
    whole = site.image()
    site.run(delete)
    damaged, versions = site.image(), _row_versions(site)

    plan = site.plan(entry)
    counts = site.counts(plan)
    assert counts["servers"] == (deleted, 0, 0)
    assert {name for name in counts if name != "servers"} <= {"power_specs", "psu_specs"}
    assert all(update == removed == 0 for _, update, removed in counts.values())
    unchanged = {t.table: t.unchanged for t in plan.tables}
    assert unchanged["public.servers"] == servers - deleted

    done = site.restore(entry, plan_hash=plan.hash, with_safety=True)

    assert site.rows(_COMPARED) == before
    assert site.image().digests == whole.digests
    assert site.image().constraints == whole.constraints
    after = _row_versions(site)
    for table, rows in versions.items():
        assert all(after[table][place] == version for place, version in rows.items()), table
        inserted = counts.get(table.removeprefix("public."), (0, 0, 0))[0]
        assert len(after[table]) - len(rows) == inserted, table
    assert done.verified == len(plan.tables)
    assert site.plan(entry).rows == 0

    site.undo()
    assert site.image().digests == damaged.digests
    site.undo()
    assert site.image().digests == whole.digests


def test_five_of_271_servers_come_back_and_nothing_else_is_written(site: Site) -> None:
    """271 servers, five deleted, restored: 271, with their power specs, and taken back twice."""
    site.run(_DELETE_FIVE)
    _cycle(site, _DELETE_FIVE, 271, 5)


def test_six_named_of_276_servers_come_back(site: Site) -> None:
    """276 servers, six named ones deleted, restored: 276 with the same names and serial numbers."""
    names = ", ".join(f"'{name}'" for name in _NAMED)
    _cycle(site, f"DELETE FROM servers WHERE hostname IN ({names})", 276, 6)


def test_one_server_comes_back_with_what_hung_on_it(site: Site) -> None:
    """One record is restored with its children; the others that were deleted stay deleted."""
    entry = site.back_up()
    site.run("DELETE FROM servers WHERE hostname IN ('web-prod-01', 'web-prod-02')")
    [(key,)] = site.rows("SELECT id::text FROM servers ORDER BY hostname LIMIT 1")
    assert site.plan(entry, Selection(tables=("servers",), key=key)).rows == 0
    site.run(f"DELETE FROM servers WHERE id = '{key}'")
    left = site.digests()

    site.restore(
        entry, Selection(tables=("servers",), key=key, with_children=True), with_safety=True
    )

    assert site.rows(f"SELECT count(*) FROM servers WHERE id = '{key}'") == [(1,)]
    assert site.rows(f"SELECT count(*) FROM power_specs WHERE server_id = '{key}'") == [(1,)]
    site.undo()
    assert site.digests() == left
