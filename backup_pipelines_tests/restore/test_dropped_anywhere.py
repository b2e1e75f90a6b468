"""Each table of the demos dropped in turn, and sets of awkward ones at random: all come back."""

import random
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.storage.store import Store
from backup_pipelines.undo import last_safety_backup
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site
from backup_pipelines_tests.test_awkward_schema import dumped, major_of, make_awkward

# A share of the demo's rows; each of the tables has some.
_SCALE = 0.02

# Reading it would connect to another server.
_FAR = ("public.far_view",)

# Others have a column of its row type, and a cast from it: the plan says that these are lost.
_IS_A_TYPE = "public.t"


def _schema_of(site: Site) -> list[str]:
    return dumped(site.database.admin_url, major_of(site.database))


def _drop(site: Site, table: Table) -> None:
    name = sql.Identifier(table.schema_name, table.name).as_string()
    site.run(f"DROP TABLE IF EXISTS {name} CASCADE")


def _missing(site: Site, entry: Manifest) -> Selection:
    """The tables that are gone: those that were dropped, and what inherited from them."""
    live = site.digests()
    return Selection(tables=tuple(t.qualified for t in entry.tables if t.qualified not in live))


@pytest.fixture(params=["crm", "dcim"])
def demo_site(
    request: pytest.FixtureRequest, server: EmbeddedServer, store: Store
) -> Iterator[Site]:
    """A small demo database of its own."""
    name = f"dropped_{request.param}"
    create_database(server.url, request.param, database=name, scale=_SCALE)
    users = ("postgres", f"{request.param}_owner", f"{request.param}_backup")
    yield Site(Database(name, *(server.url(name, user) for user in users)), store)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.timeout(900)
def test_each_table_of_the_demos_comes_back(demo_site: Site) -> None:
    """Dropped with CASCADE and restored, one after the other: schema and content as before."""
    site = demo_site
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    before = contents(site.database.admin_url)
    for table in entry.tables:
        _drop(site, table)
        done = site.restore(entry, Selection(tables=(table.qualified,)))
        assert done.plan.created == (table.qualified,)
        assert [w for t in done.plan.tables for w in t.warnings] == [], table.qualified
        assert site.image().constraints == whole.constraints, table.qualified
    assert site.image() == whole
    assert contents(site.database.admin_url) == before
    after = _schema_of(site)
    assert [one for one in schema if one not in after] == []
    assert [one for one in after if one not in schema] == []


@pytest.mark.timeout(900)
def test_all_tables_of_the_demos_come_back_at_once(demo_site: Site) -> None:
    """With every table gone the whole schema comes back in one restore, and goes by its undo."""
    site = demo_site
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    for table in entry.tables:
        _drop(site, table)
    empty = _schema_of(site)
    done = site.restore(entry, with_safety=True)
    assert (site.image(), _schema_of(site)) == (whole, schema)
    safety = last_safety_backup(site.store, site.system.system)
    site.restore(safety, with_safety=True, takes_back=done.made)
    assert _schema_of(site) == empty


def _awkward(on: Server, make_site: MakeSite) -> Site:
    site = make_site(on)
    make_awkward(site.database)
    # It refuses all DDL, whoever runs it.
    site.run_as_admin("DROP EVENT TRIGGER no_ddl")
    return site


def _case(site: Site, entry: Manifest, seed: int, look: Callable[[], object]) -> None:
    chance = random.Random(seed)
    before = look()
    tables = [t for t in entry.tables if t.partition_of is None and t.qualified != _IS_A_TYPE]
    for table in chance.sample(tables, chance.randint(1, 8)):
        _drop(site, table)
    gone = look()
    done = site.restore(entry, _missing(site, entry), with_safety=True)
    assert look() == before
    safety = last_safety_backup(site.store, site.system.system)
    undone = site.restore(safety, with_safety=True, takes_back=done.made)
    assert set(undone.dropped) == set(done.plan.created)
    assert look() == gone
    safety = last_safety_backup(site.store, site.system.system)
    site.restore(safety)
    assert look() == before


def _campaign(site: Site, cases: int, first: int) -> None:
    entry = site.back_up()
    url = site.database.admin_url
    for seed in range(first, first + cases):
        try:
            _case(site, entry, seed, lambda: (_schema_of(site), contents(url, _FAR)))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        print(f"seed {seed} passed")


@pytest.mark.timeout(900)
def test_random_sets_of_awkward_tables_come_back(any_server: Server, make_site: MakeSite) -> None:
    """Whatever is dropped together: restored, undone, redone, by pg_dump and COPY as it was."""
    _campaign(_awkward(any_server, make_site), 2, first=1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_random_sets_of_awkward_tables(any_server: Server, make_site: MakeSite) -> None:
    """The same 40 times on each server."""
    _campaign(_awkward(any_server, make_site), 40, first=SOAK_SEED)
