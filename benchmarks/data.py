"""The databases that are measured: the demo's crm at several sizes, and tables of one kind each.

All is the same on every machine: the demo's rows by its own generator and seed, since copies of few
rows would be worth a lot to who keeps dictionaries; the others by arithmetic inside the server.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import psycopg
from psycopg import sql

from backup_pipelines.demo.seed import create_database

Connection = psycopg.Connection[tuple[Any, ...]]

# The number of rows of each table at 100 times the demo: some 200 MB of each.
WIDE_ROWS = 80_000
NARROW_ROWS = 4_000_000
DOCUMENT_ROWS = 16_000
NUMBER_ROWS = 1_200_000
CONTACT_ROWS = 1_000_000

_WIDE_COLUMNS = 200
_WIDE_KINDS: tuple[tuple[str, str], ...] = (
    ("bigint", "(g * 7919 + {n}) % 1000003"),
    ("text", "'value ' || (g * {n}) % 977"),
    ("boolean", "(g + {n}) % 3 = 0"),
    ("double precision", "((g * 31 + {n}) % 100003) / 7.0"),
    ("timestamptz", "timestamptz '2024-01-01Z' + (g * {n} % 10000000) * interval '1 second'"),
    ("integer", "CASE WHEN (g + {n}) % 4 > 0 THEN g % {n} END"),
)

_NARROW = (
    "CREATE TABLE narrow (id bigint PRIMARY KEY, value integer NOT NULL)",
    "INSERT INTO narrow SELECT g, (g * 7919) % 100003 FROM generate_series(1, {rows}::bigint) AS g",
)

_DOCUMENTS = (
    "CREATE TABLE documents (id bigint PRIMARY KEY, document jsonb NOT NULL, body text NOT NULL)",
    """
    INSERT INTO documents
    SELECT g, jsonb_build_object('number', g, 'lines', lines, 'total', g * 1.25),
           string_agg(word, ' ')
      FROM generate_series(1, {rows}::bigint) AS g,
           LATERAL (SELECT jsonb_agg(jsonb_build_object('sku', md5((g * n)::text), 'quantity', n,
                                                        'price', (g * n % 9973) / 100.0)) AS lines
                      FROM generate_series(1, 60) AS n) AS of_document,
           LATERAL (SELECT md5((g * 131 + n)::text) AS word
                      FROM generate_series(1, 250) AS n) AS of_body
     GROUP BY g, lines
    """,
)

_NUMBERS = (
    """
    CREATE TABLE numbers (
        id bigint PRIMARY KEY, amount numeric(12,2) NOT NULL, rate numeric NOT NULL,
        large numeric(30,10), measured double precision, level real, day date NOT NULL,
        at timestamptz NOT NULL, local timestamp NOT NULL, clock time, took interval)
    """,
    """
    INSERT INTO numbers
    SELECT g, (g * 7919 % 100000000) / 100.0, (g % 9973) / 7.0, g * 1234567.0123456789,
           g / 3.0, g / 7.0, date '2000-01-01' + (g % 9000)::integer,
           timestamptz '2020-01-01Z' + g * interval '1.000007 second',
           timestamp '2020-01-01' + g * interval '3.5 second',
           time '00:00' + (g % 86400) * interval '1 second', (g % 5000) * interval '1 minute'
      FROM generate_series(1, {rows}::bigint) AS g
    """,
)


# As wide as a CRM's contacts: about 500 bytes a row.
_CONTACTS = """
CREATE TABLE contacts (
    id bigint PRIMARY KEY, account_id bigint NOT NULL, public_id uuid NOT NULL,
    first_name text NOT NULL, last_name text NOT NULL, email text NOT NULL, phone varchar(30),
    city text, notes text, active boolean NOT NULL, score double precision,
    balance numeric(12,2) NOT NULL, preferences jsonb NOT NULL, thumbnail bytea,
    born_on date, created_at timestamptz NOT NULL, updated_at timestamp NOT NULL)
"""

_CONTACT_ROWS = """
INSERT INTO contacts
SELECT g, g % 5000, gen_random_uuid(), 'First' || g % 977, 'Last' || md5(g::text),
       'contact' || g || '@example.com', '+33 1 ' || g % 99999999, 'City ' || g % 3000,
       CASE WHEN g % 3 > 0 THEN repeat(md5((g * 7)::text) || ' ', 1 + g % 5) END,
       g % 7 > 0, random(), (g % 1000000) / 100.0,
       jsonb_build_object('language', 'fr', 'tags', jsonb_build_array(g % 10, md5(g::text))),
       decode(md5((g * 3)::text) || md5((g * 5)::text), 'hex'),
       date '1950-01-01' + g % 20000, now() - g * interval '1 minute', now()
  FROM generate_series(1, %s) AS g
"""


def make_crm(url_of: Callable[[str], str], name: str, scale: float) -> None:
    """The crm database at so many times the demo: four seconds for each time."""
    create_database(url_of, "crm", scale=scale, database=name)
    _settle(url_of(name))


def table_makers(scale: float) -> Mapping[str, Callable[[Connection], None]]:
    """What fills a database with one table of each kind, by the kind's name."""
    share = scale / 100

    def statements(rows: int, *texts: str) -> Callable[[Connection], None]:
        count = max(10, round(rows * share))
        return lambda connection: _run(
            connection, *(t.replace("{rows}", str(count)) for t in texts)
        )

    return {
        "one wide table (200 columns)": statements(WIDE_ROWS, *_wide()),
        "one narrow table (2 columns)": statements(NARROW_ROWS, *_NARROW),
        "big jsonb and text (TOAST)": statements(DOCUMENT_ROWS, *_DOCUMENTS),
        "numerics and timestamps": statements(NUMBER_ROWS, *_NUMBERS),
    }


def make_table(url_of: Callable[[str], str], name: str, fill: Callable[[Connection], None]) -> None:
    """A database with one table."""
    _create(url_of, name)
    with psycopg.connect(url_of(name)) as connection:
        fill(connection)
    _settle(url_of(name))


def fill_contacts(scale: float) -> Callable[[Connection], None]:
    """A table of contacts, a million at 100 times the demo, and notes that refer to them."""
    rows = max(2_000, round(CONTACT_ROWS * scale / 100))
    return lambda connection: _run(
        connection,
        _CONTACTS,
        _CONTACT_ROWS.replace("%s", str(rows)),
        "CREATE TABLE notes (id bigint PRIMARY KEY, contact_id bigint NOT NULL, body text)",
        "INSERT INTO notes SELECT id, id, 'note ' || id FROM contacts WHERE id % 2 = 0",
        "ALTER TABLE notes ADD FOREIGN KEY (contact_id) REFERENCES contacts ON DELETE CASCADE",
        "CREATE INDEX ON contacts (email)",
        "CREATE INDEX ON notes (contact_id)",
    )


def fill(admin_url: str, rows: int) -> int:
    """Make the contacts table with so many rows; returns its size in bytes."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(_CONTACTS)
        connection.execute(_CONTACT_ROWS.replace("%s", str(rows)).encode())
        found = connection.execute("SELECT pg_table_size('contacts')").fetchone()
    assert found is not None
    return int(found[0])


def rows_and_bytes(url: str) -> tuple[int, int]:
    """How many rows the tables of a database have, and how many bytes without indexes."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT c.oid::regclass::text, pg_table_size(c.oid) FROM pg_class AS c"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
        rows = 0
        for name, _ in found:
            counted = connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()
            rows += counted[0] if counted else 0
    return rows, sum(size for _, size in found)


def tables(url: str) -> list[tuple[str, int]]:
    """The tables of a database by their quoted names, with their pages, the largest first."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname), pg_relation_size(c.oid) / 8192"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY 2 DESC, 1"
        )
        return [(str(name), int(pages)) for name, pages in found.fetchall()]


def _wide() -> tuple[str, str]:
    columns, values = ["id bigint PRIMARY KEY"], ["g"]
    for number in range(1, _WIDE_COLUMNS):
        kind, value = _WIDE_KINDS[number % len(_WIDE_KINDS)]
        columns.append(f"c{number} {kind}")
        values.append(value.replace("{n}", str(number)))
    return (
        f"CREATE TABLE wide ({', '.join(columns)})",
        f"INSERT INTO wide SELECT {', '.join(values)} FROM generate_series(1, {{rows}}::bigint) g",
    )


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement.encode())


def _create(url_of: Callable[[str], str], name: str) -> None:
    with psycopg.connect(url_of("postgres"), autocommit=True) as admin:
        statement = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
        admin.execute(sql.SQL(cast(Any, statement)).format(sql.Identifier(name)))


def _settle(url: str) -> None:
    """Nothing is left for the server to do later, beside a measurement."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")
