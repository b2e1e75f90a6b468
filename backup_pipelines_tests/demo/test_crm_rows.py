"""The crm demo: the same rows everywhere, in a database that holds together."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import psycopg
import pytest
from psycopg import sql

from backup_pipelines.demo.crm.rows import tables
from backup_pipelines.demo.seed import create_database
from backup_pipelines.demo.server import EmbeddedServer

SEED = 20240229
SCALE = 0.02
DATABASE = "crm_seed_test"
TABLES = 21

Connection = psycopg.Connection[tuple[Any, ...]]


def _first_rows(count: int, seed: int = SEED) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    for table in tables(seed, SCALE):
        rows = found.setdefault(table.table, [])
        rows += islice(table.rows, count - len(rows))
    return found


def _digest_of_everything() -> str:
    digest = hashlib.sha256()
    for table in tables(SEED, SCALE):
        for row in table.rows:
            digest.update(repr((table.table, table.columns, row)).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[Connection]:
    """The superuser's connection to a small crm made for this module."""
    create_database(server.url, "crm", scale=SCALE, database=DATABASE)
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        yield connection
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        name = sql.Identifier(DATABASE)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_the_same_seed_gives_the_same_rows() -> None:
    """Two generations with one seed agree on the first rows of every table."""
    assert _first_rows(50) == _first_rows(50)


def test_another_seed_gives_other_rows() -> None:
    """A different seed changes every table that is not a fixed list."""
    first, second = _first_rows(50), _first_rows(50, seed=1)
    fixed = {"public.deal_stages", "public.lead_sources"}
    assert {table for table in first if first[table] == second[table]} == fixed


def test_rows_do_not_depend_on_the_process() -> None:
    """Processes with different hash seeds, time zones and locales make the same rows."""
    code = f"from {__name__} import _digest_of_everything; print(_digest_of_everything())"
    settings = (("1", "Asia/Tokyo", "C"), ("4242", "America/Lima", "C.UTF-8"))
    digests: set[str] = set()
    for hash_seed, zone, locale in settings:
        environment = {"PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": locale}
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=True,
            capture_output=True,
            text=True,
        )
        digests.add(result.stdout.strip())
    assert digests == {_digest_of_everything()}


def test_rows_stream() -> None:
    """The first tables of a scale that would take hours come at once."""
    first = list(islice(tables(SEED, 1_000_000), 30))
    assert sum(len(list(table.rows)) for table in first) < 50_000


def test_every_row_arrives(connection: Connection) -> None:
    """The database has exactly the generated rows, table by table, and no table without rows."""
    expected: Counter[str] = Counter()
    for table in tables(SEED, SCALE):
        expected[table.table] += len(list(table.rows))
    names = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    assert len(names) == TABLES
    assert {name: _one(connection, f"SELECT count(*) FROM {name}") for (name,) in names} == expected


def test_every_foreign_key_is_satisfied(connection: Connection) -> None:
    """Every foreign key, the cycle and the self references among them, is there and validated."""
    keys = connection.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text, convalidated"
        " FROM pg_constraint WHERE contype = 'f'"
    ).fetchall()
    assert all(validated for *_, validated in keys)
    pairs = {(child, parent) for child, parent, _ in keys}
    assert {("accounts", "contacts"), ("contacts", "accounts")} <= pairs
    assert {("accounts", "accounts"), ("tasks", "tasks"), ("users", "users")} <= pairs


@pytest.mark.parametrize(
    "column",
    [
        "accounts.parent_account_id",
        "accounts.primary_contact_id",
        "contacts.account_id",
        "leads.converted_contact_id",
        "leads.converted_deal_id",
        "meetings.deal_id",
        "meeting_attendees.contact_id",
        "tasks.parent_task_id",
        "tasks.meeting_id",
    ],
)
def test_optional_references_are_used(connection: Connection, column: str) -> None:
    """An optional reference is there in some rows and missing in others."""
    table, name = column.split(".")
    query = f"SELECT count({name}) > 0 AND count({name}) < count(*) FROM public.{table}"
    assert _one(connection, query)


def test_a_deal_is_in_the_last_stage_of_its_history(connection: Connection) -> None:
    """Every deal has its own stage open in its history, where stages follow each other in time."""
    wrong = _one(
        connection,
        "SELECT count(*) FROM public.deals d LEFT JOIN public.deal_stage_history h"
        " ON h.deal_id = d.id AND h.left_at IS NULL AND h.stage = d.stage"
        " AND (d.closed_at IS NULL OR d.closed_at = h.entered_at) WHERE h.id IS NULL",
    )
    unordered = _one(
        connection,
        "SELECT count(*) FROM (SELECT left_at, lead(entered_at) OVER line AS next_entered,"
        " stage, lead(stage) OVER line AS next_stage FROM public.deal_stage_history"
        " WINDOW line AS (PARTITION BY deal_id ORDER BY id)) AS step"
        " WHERE left_at <> next_entered OR stage >= next_stage",
    )
    assert (wrong, unordered) == (0, 0)


def test_a_deal_is_worth_its_lines(connection: Connection) -> None:
    """A deal with products has the sum of its discounted lines as its amount, to the cent."""
    difference = _one(
        connection,
        "SELECT max(abs(d.amount - lines.amount)) FROM public.deals d JOIN (SELECT deal_id,"
        " sum(trunc(quantity * unit_price * (100 - discount_percent) / 100, 2)) AS amount"
        " FROM public.deal_products GROUP BY deal_id) AS lines ON lines.deal_id = d.id",
    )
    assert difference == Decimal(0)


def test_meetings_are_in_office_hours(connection: Connection) -> None:
    """No meeting starts at night or on a weekend."""
    query = (
        "SELECT count(*) FROM (SELECT starts_at AT TIME ZONE 'UTC' AS moment FROM public.meetings)"
        " AS meeting WHERE extract(isodow FROM moment) > 5"
        " OR extract(hour FROM moment) NOT BETWEEN 8 AND 16"
    )
    assert _one(connection, query) == 0


def test_the_next_insert_gets_a_free_key(connection: Connection) -> None:
    """The sequence behind every numbered table continues where the loaded rows end."""
    sequences = connection.execute(
        "SELECT a.attrelid::regclass::text, a.attname, s.oid::regclass::text"
        " FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i')"
        " AND d.classid = 'pg_class'::regclass JOIN pg_attribute a"
        " ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE s.relkind = 'S'"
    ).fetchall()
    assert len(sequences) == 11
    for table, column, sequence in sequences:
        last = _one(connection, f"SELECT max({column}) FROM {table}")
        coming = _one(connection, f"SELECT last_value + is_called::int FROM {sequence}")
        # Another test may have drawn a number or two: a sequence is not rolled back.
        assert last < coming < last + 10


def test_the_backup_role_reads_everything(connection: Connection) -> None:
    """The backup role sees rows behind policies and tables that are made later; it writes none."""
    total = _one(connection, "SELECT count(*) FROM public.leads")
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE crm_owner")
        connection.execute("CREATE SCHEMA later CREATE TABLE added (id int)")
        connection.execute("SET LOCAL ROLE crm_backup")
        assert _one(connection, "SELECT count(*) FROM public.leads") == total
        assert _one(connection, "SELECT last_value FROM public.tasks_id_seq") > 1
        assert _one(connection, "SELECT count(*) FROM later.added") == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("DELETE FROM public.task_comments")


def test_policies_hide_rows_from_the_application(connection: Connection) -> None:
    """The application's role sees fewer leads and notes than there are."""
    with connection.transaction(force_rollback=True):
        counts = "SELECT (SELECT count(*) FROM public.leads), (SELECT count(*) FROM meeting_notes)"
        everything = connection.execute(counts).fetchone()
        connection.execute("SET LOCAL ROLE crm_app")
        visible = connection.execute(counts).fetchone()
    assert everything is not None
    assert visible is not None
    assert 0 < visible[0] < everything[0]
    assert 0 < visible[1] < everything[1]


def test_triggers_work(connection: Connection) -> None:
    """Moving a deal on closes its stage in the history, opens the next and touches the deal."""
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE crm_owner")
        row = connection.execute(
            "UPDATE public.deals SET stage = 'negotiation' WHERE id ="
            " (SELECT id FROM public.deals WHERE stage = 'prospecting' LIMIT 1)"
            " RETURNING id, updated_at = now()"
        ).fetchone()
        assert row is not None
        assert row[1]
        history = connection.execute(
            "SELECT stage::text, left_at IS NULL FROM public.deal_stage_history"
            " WHERE deal_id = %s ORDER BY id",
            (row[0],),
        ).fetchall()
    assert history == [("prospecting", False), ("negotiation", True)]


def test_an_existing_database_is_left_alone(connection: Connection, server: EmbeddedServer) -> None:
    """Making the database again changes nothing in it."""
    identity = "SELECT oid FROM pg_database WHERE datname = current_database()"
    before = _one(connection, identity)
    create_database(server.url, "crm", scale=SCALE, database=DATABASE)
    assert _one(connection, identity) == before


def test_an_interrupted_seeding_leaves_nothing_in_the_way(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure in the middle there is no database of that name; the next try makes it."""
    name = f"{DATABASE}_interrupted"
    query = "SELECT count(*) FROM pg_database WHERE datname = %s"

    def fail(*_: object) -> None:
        raise InterruptedError

    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        with monkeypatch.context() as patch:
            patch.setattr("backup_pipelines.demo.seed._let_read", fail)
            with pytest.raises(InterruptedError):
                create_database(server.url, "crm", scale=SCALE, database=name)
        assert admin.execute(query, (name,)).fetchone() == (0,)
        create_database(server.url, "crm", scale=SCALE, database=name)
        assert admin.execute(query, (name,)).fetchone() == (1,)
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        assert admin.execute(query, (f"{name}_unfinished",)).fetchone() == (0,)


def test_an_unknown_system_is_refused(server: EmbeddedServer) -> None:
    """A system that is not a demo is named in the error, next to those that are."""
    with pytest.raises(ValueError, match=r"no demo system 'erp'; there are crm, dcim"):
        create_database(server.url, "erp")
