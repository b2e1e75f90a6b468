"""A schema of everything awkward: restored, it is the same schema with the same rows."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from backup_pipelines.drill import run_drill
from backup_pipelines.modules import select_modules
from backup_pipelines.postgres.pg_dump import find_pg_dump
from backup_pipelines.restore import restore_into_empty
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ModuleSpec, System
from backup_pipelines_tests.exactness import contents
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_postgres import Database, Server

MakeDatabase = Callable[[Server], Database]

_SCHEMA = Path(__file__).with_name("awkward_schema.sql").read_text("utf-8")

# What only PostgreSQL 18 has.
_NEWEST = """
CREATE TABLE virtual (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL,
    c text GENERATED ALWAYS AS ('c' || a) STORED);
INSERT INTO virtual VALUES (1), (NULL);
CREATE TABLE only_virtual (a int GENERATED ALWAYS AS (1) VIRTUAL);
INSERT INTO only_virtual SELECT FROM generate_series(1, 3);
CREATE TABLE may_be_null (a int);
INSERT INTO may_be_null VALUES (NULL);
ALTER TABLE may_be_null ADD CONSTRAINT later NOT NULL a NOT VALID;
CREATE TABLE unenforced (a int CHECK (a > 0) NOT ENFORCED, t int REFERENCES tree NOT ENFORCED);
INSERT INTO unenforced VALUES (-1, -1);
CREATE TABLE temporal (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
INSERT INTO temporal VALUES ('[1,2)', '[2020-01-01,2021-01-01)');
"""

# What takes a superuser: not restored by an owner, and said.
_AS_ADMIN = """
CREATE EVENT TRIGGER no_ddl ON ddl_command_end EXECUTE FUNCTION public.no_ddl();
COMMENT ON EVENT TRIGGER no_ddl IS 'none';
"""
_FOREIGN = """
CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'no DDL today'; END $$;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'it''s;far');
CREATE FOREIGN TABLE far_table (id int) SERVER far;
CREATE VIEW far_view AS SELECT * FROM far_table;
"""
# What pg_dump says of itself, and a setting that only its order of objects decides.
_NOISE = (
    r"^(\\(un)?restrict .*|SET default_table.*|-- .*ed by pg_dump.*|--\n-- .*dump complete\n--)\n"
)

# Reading it would connect.
_FAR = ("public.far_view",)


def make_awkward(database: Database) -> None:
    """Everything awkward, owned by the database's owner."""
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        newest = admin.info.server_version >= 180000
        admin.execute("CREATE EXTENSION postgres_fdw")
        admin.execute("CREATE EXTENSION hstore")
        grant = f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {database.name}_owner"
        admin.execute(grant.encode())
        admin.execute("CREATE TABLE of_extension (id int)")
        admin.execute("ALTER EXTENSION hstore ADD TABLE of_extension")
    script = _SCHEMA.replace(":reader", f"{database.name}_reader")
    columns = ", ".join(f"c{n} int DEFAULT {n}" for n in range(350))
    script += f"CREATE TABLE wide ({columns}); INSERT INTO wide DEFAULT VALUES;"
    database.run(script, *([_NEWEST] if newest else []), _FOREIGN)
    database.run(_AS_ADMIN, as_admin=True)


def dumped(url: str, major: int) -> list[str]:
    """The entries of a `pg_dump --schema-only`, sorted."""
    command = [find_pg_dump(major), "--schema-only", f"--dbname={url}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text = re.sub(_NOISE, "", text, flags=re.MULTILINE)
    return sorted(
        part.strip().removesuffix("--").strip()
        for part in re.split(r"^--\n(?=-- Name)", text, flags=re.M)
    )


def major_of(database: Database) -> int:
    """The server's major version."""
    with psycopg.connect(database.admin_url) as admin:
        return admin.info.server_version // 10000


def test_awkward_schema_is_restored_by_its_owner(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """pg_dump and COPY find the restored database as the source, but for what takes a superuser."""
    target, source = make_database(any_server), make_database(any_server)
    make_awkward(source)
    target.run(
        f"ALTER DATABASE {target.name} OWNER TO {source.name}_owner",
        "CREATE EXTENSION postgres_fdw",
        f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {source.name}_owner",
        as_admin=True,
    )
    owner_url = target.owner_url.replace(f"{target.name}_owner", f"{source.name}_owner")
    sealed = back_up(source.reader_url, store)
    left_out = {excluded.name: excluded.reason for excluded in sealed.excluded}
    assert "another server" in left_out["public.far_table"]
    assert "extension hstore" in left_out["public.of_extension"]
    done = restore_into_empty(store, sealed, owner_url, report=ignore)
    assert any("no_ddl" in skipped for skipped in done.skipped)
    major = major_of(source)
    before, after = dumped(source.admin_url, major), dumped(target.admin_url, major)
    assert [x for x in before if x not in after and "no_ddl" not in x] == []
    assert [x for x in after if x not in before] == []
    assert contents(source.admin_url, _FAR) == contents(target.admin_url, _FAR)
    assert _positions(source) == _positions(target)


def test_awkward_schema_drills_exactly(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A drill by a superuser passes, although the source's event trigger forbids all DDL."""
    source = make_database(any_server)
    make_awkward(source)
    sealed = back_up(source.reader_url, store)
    done = run_drill(store, sealed, any_server.url(), report=ignore)
    assert (done.rows, done.skipped) == (sealed.records_count, ())


def test_awkward_schema_is_restored_on_a_newer_major(
    debian_server: Server, server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A backup of Debian's server has the same rows on the embedded one, which lacks the roles."""
    target, source = make_database(server), make_database(debian_server)
    make_awkward(source)
    sealed = back_up(source.reader_url, store)
    done = restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert any("does not exist" in skipped for skipped in done.skipped)
    assert contents(source.admin_url, _FAR) == contents(target.admin_url, _FAR)


def test_owner_without_a_superusers_rights_restores_the_rest(
    server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Foreign tables that this role may not create are reported, and nothing else is missing."""
    target, source = make_database(server), make_database(server)
    source.run("CREATE EXTENSION postgres_fdw", "GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw"
               f" TO {source.name}_owner", as_admin=True)  # fmt: skip
    source.run("CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
               "CREATE FOREIGN TABLE f (id int) SERVER far", "CREATE USER MAPPING FOR PUBLIC SERVER"
               " far OPTIONS (user 'u')", "CREATE TABLE t AS SELECT 1 AS i")  # fmt: skip
    target.run("CREATE EXTENSION postgres_fdw", as_admin=True)
    sealed = back_up(source.reader_url, store)
    done = restore_into_empty(store, sealed, target.owner_url, report=ignore)
    skipped = "\n".join(done.skipped)
    assert all(text in skipped for text in ("server of far", "foreign table of f", "user mapping"))
    assert contents(target.admin_url) == {"public.t": [b"", b"1"]}


def test_module_backup_is_restored_without_the_rows_of_others(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """Keys to tables outside of the backup are created NOT VALID, or left out, and reported."""
    target, source = make_database(any_server), make_database(any_server)
    source.run(
        'CREATE SCHEMA "Other.one"; CREATE TABLE "Other.one"."a.b" (id int PRIMARY KEY)',
        "CREATE TABLE inside (id int PRIMARY KEY, up int CONSTRAINT self REFERENCES inside,"
        ' o int CONSTRAINT "out;" REFERENCES "Other.one"."a.b" DEFERRABLE INITIALLY DEFERRED)',
        "COMMENT ON CONSTRAINT \"out;\" ON inside IS 'out'",
        "CREATE TABLE parts (o int CONSTRAINT parted REFERENCES"
        ' "Other.one"."a.b") PARTITION BY HASH (o)',
        "CREATE TABLE part PARTITION OF parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        'INSERT INTO "Other.one"."a.b" VALUES (1)',
        "INSERT INTO inside VALUES (1, 1, 1); INSERT INTO parts VALUES (1)",
    )
    system = System(
        system="sample",
        database_url_env="SAMPLE_DATABASE_URL",
        modules={"mine": ModuleSpec(tables=["public.*"]), "rest": ModuleSpec(tables=["*.*"])},
    )
    sealed = back_up(source.reader_url, store, system, select_modules(system, ["mine"]))
    done = restore_into_empty(store, sealed, target.admin_url, report=ignore)
    reported = "\n".join(done.skipped)
    assert "check of out; on public.inside: no rows of Other.one.a.b" in reported
    assert "key parted of public.parts: no rows of Other.one.a.b" in reported
    with psycopg.connect(target.admin_url) as connection:
        keys = connection.execute(
            "SELECT conname, convalidated, condeferred FROM pg_constraint WHERE contype = 'f'"
        ).fetchall()
    assert sorted(keys) == [("out;", False, True), ("self", True, False)]
    assert contents(target.admin_url)["Other.one.a.b"] == [b""]


def test_grants_by_others_than_the_owner_are_kept_or_reported(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A grant in a third role's name is repeated in its name, and left out where it is missing."""
    target, source = make_database(any_server), make_database(any_server)
    grantor = f"{source.name}_grantor"
    source.run(
        f"CREATE ROLE {grantor}",
        "CREATE TABLE t (id int)",
        f"GRANT SELECT ON t TO {grantor} WITH GRANT OPTION",
        f"SET ROLE {grantor}; GRANT SELECT ON t TO {source.name}_reader; RESET ROLE",
        as_admin=True,
    )
    try:
        sealed = back_up(source.reader_url, store)
        restore_into_empty(store, sealed, target.admin_url, report=ignore)
        assert _grants(target) == _grants(source)
        target.run("DROP TABLE t", as_admin=True)
    finally:
        source.run(f"DROP OWNED BY {grantor} CASCADE; DROP ROLE {grantor}", as_admin=True)
    done = restore_into_empty(store, sealed, target.admin_url, report=ignore)
    assert any(grantor in skipped for skipped in done.skipped)
    assert done.rows == 0


def test_materialized_view_of_another_owner_is_refreshed(
    any_server: Server, make_database: MakeDatabase, store: Store
) -> None:
    """A view whose owner reads the table by a grant is refreshed when the grant is there."""
    source = make_database(any_server)
    source.run("CREATE TABLE t AS SELECT 1 AS id")
    source.run(
        f"GRANT SELECT ON t TO {source.name}_reader",
        "CREATE MATERIALIZED VIEW m AS SELECT id FROM t",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {source.name}_reader",
        f"ALTER MATERIALIZED VIEW m OWNER TO {source.name}_reader",
        as_admin=True,
    )
    sealed = back_up(source.reader_url, store)
    assert run_drill(store, sealed, any_server.url(), report=ignore).skipped == ()


def _positions(database: Database) -> list[tuple[object, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        names = connection.execute(
            "SELECT schemaname, sequencename FROM pg_sequences ORDER BY 1, 2"
        ).fetchall()
        return [
            (
                *name,
                *connection.execute(
                    sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(*name))
                ).fetchall(),
            )
            for name in names
        ]


def _grants(database: Database) -> str:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute(
            "SELECT relacl::text FROM pg_class WHERE oid = 'public.t'::regclass"
        ).fetchone()
        assert row is not None
        return str(row[0])
