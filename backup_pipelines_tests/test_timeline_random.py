"""Ten backups of randomly edited tables: what is said of them is what PostgreSQL says itself.

The truth is a copy of every table for every backup, in schemas of their own that no backup holds.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.layout import Format
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import connected
from backup_pipelines.timeline.differences import RowDifference, differences
from backup_pipelines.timeline.history import history
from backup_pipelines.timeline.query import asked
from backup_pipelines.timeline.sides import of_backup, of_live
from backup_pipelines_tests.fix_backup import ignore, whole_system
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site

_SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'ça va');
CREATE TABLE account (id bigint PRIMARY KEY, name text, balance numeric(12, 2), big numeric,
    born date, seen timestamptz, at time, made timestamp, tags text[], raw bytea, ratio float8,
    small float4, code char(5), ok bool, u uuid, doc jsonb, m mood);
CREATE TABLE place (site text, slot int, "Note, too" varchar(40), net inet,
    PRIMARY KEY (slot, site));
CREATE TABLE line (n int, msg text, amount numeric(8, 2), f float8);
CREATE TABLE price (k numeric PRIMARY KEY, code char(4), v text);
CREATE TABLE event (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2026-01-10');
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2026-01-10') TO (MAXVALUE);
CREATE TABLE calm (id int PRIMARY KEY, v text);
INSERT INTO calm SELECT n, 'v' || n FROM generate_series(1, 50) AS n;
"""

_TABLES = ("account", "place", "line", "price", "event", "calm")
_KEYS = {
    "account": ["id"],
    "place": ["slot", "site"],
    "price": ["k"],
    "event": ["id", "day"],
    "calm": ["id"],
}

_FLOATS = ("ratio", "small", "f")

_VALUES: Mapping[str, Sequence[str]] = {
    "name": ("''", "'Ünïcode 日本'", "NULL", "'a,\"b\n'", "'NULL'", "' x '"),
    "balance": ("0", "-0.01", "9999999999.99", "NULL", "'NaN'", "12.5"),
    "big": ("'1e40'", "1.0", "1.00", "'NaN'", "-0.00001", "NULL", "12345678901234567890.123"),
    "born": ("'0001-01-01'", "'infinity'", "'0044-03-15 BC'", "NULL", "'2026-02-28'"),
    "seen": (
        "'infinity'",
        "'-infinity'",
        "'2026-01-01 12:00+02'",
        "NULL",
        "'1969-07-20 20:17:40.5'",
    ),
    "at": ("'24:00'", "'00:00'", "NULL", "'12:34:56.789'"),
    "made": ("'0001-01-01'", "'2026-01-01 00:00:00.000001'", "NULL", "'9999-12-31 23:59:59'"),
    "tags": ("'{}'", "'{a,NULL,\"b,c\"}'", "NULL", "'{{x},{y}}'"),
    "raw": (r"'\x'", r"'\x00ff41'", "NULL", "'abc'"),
    "ratio": ("'-0'", "0", "'NaN'", "'-Infinity'", "1e15", "1e-5", "0.1", "NULL", "1/3.0"),
    "small": ("'-0'", "0", "'NaN'", "1e6", "0.1", "NULL", "123456.7", "3.4e38"),
    "code": ("'a'", "''", "NULL", "'abcde'", "' b'"),
    "ok": ("true", "false", "NULL"),
    "doc": ("'{\"a\": 1.0}'", "'{\"a\": 1.00}'", "NULL", "'null'"),
    "m": ("'sad'", "'ça va'", "NULL"),
}

_EDITS = (
    "INSERT INTO account (id, {column}, u) VALUES ({id}, {value}, '{word}')",
    "INSERT INTO account (id, {column}) SELECT g, {value} FROM generate_series({id}, {id} + 5) g",
    "UPDATE account SET {column} = {value} WHERE id % 3 = {small} % 3",
    "UPDATE account SET {column} = {value} WHERE id % 7 = {small} % 7",
    "UPDATE account SET {column} = {value} WHERE id = {small}",
    "UPDATE account SET {column} = DEFAULT",
    "DELETE FROM account WHERE id % 5 = {small} % 5",
    "UPDATE account SET id = id + 10000 WHERE id = {small}",
    "INSERT INTO place VALUES ('{word}', {small}, 'n', '10.0.0.{small}')",
    "INSERT INTO place VALUES ('a,b', {id}, NULL, NULL)",
    "INSERT INTO place VALUES ('', {small}, '', NULL)",
    "UPDATE place SET \"Note, too\" = '{word}' WHERE slot % 4 = {small} % 4",
    "UPDATE place SET net = set_masklen(net, 24) WHERE slot % 3 = {small} % 3",
    "DELETE FROM place WHERE slot % 3 = {small} % 3",
    "INSERT INTO line SELECT g % 3, 'same', 1.5, '-0' FROM generate_series(1, {small}) g",
    "INSERT INTO line VALUES (NULL, NULL, NULL, NULL), (1, '', 'NaN', 0), (1, '{word}', 1, 'NaN')",
    "DELETE FROM line WHERE ctid IN (SELECT ctid FROM line ORDER BY random() LIMIT 3)",
    "UPDATE line SET f = 0 WHERE n = {small} % 3",
    "INSERT INTO price VALUES ({small}.50, 'x', '{word}')",
    "UPDATE price SET k = k + 0.00",
    "UPDATE price SET v = NULL WHERE k > {small}",
    "DELETE FROM price WHERE k < {small}",
    "INSERT INTO event VALUES ({id}, date '2026-01-01' + {small}, '{word}')",
    "INSERT INTO event VALUES ({id}, 'infinity', NULL)",
    "UPDATE event SET day = day + 9 WHERE id % 2 = {small} % 2 AND isfinite(day)",
    "DELETE FROM event WHERE id % 3 = {small} % 3",
)


@dataclass
class _Campaign:
    """A database, its backups, and PostgreSQL's word on each."""

    site: Site
    folder: Path
    chance: random.Random
    entries: list[Manifest] = field(default_factory=list)

    def edit(self) -> None:
        """Some edits; those that break a constraint, or whose column is gone, are none."""
        with psycopg.connect(self.site.database.owner_url, autocommit=True) as connection:
            for _ in range(self.chance.randrange(1, 12)):
                column = self.chance.choice(tuple(_VALUES))
                statement = self.chance.choice(_EDITS).format(
                    id=self.chance.randrange(1, 400),
                    small=self.chance.randrange(1, 40),
                    word=uuid.UUID(int=self.chance.getrandbits(128)),
                    column=column,
                    value=self.chance.choice(_VALUES[column]),
                )
                with suppress(psycopg.IntegrityError, psycopg.errors.UndefinedColumn):
                    connection.execute(statement.encode())

    def back_up(self) -> None:
        """A backup, and a copy of every table."""
        schema = f"s{len(self.entries)}"
        copies = [f"CREATE TABLE {schema}.{t} AS SELECT * FROM {t}" for t in _TABLES]
        self.site.run(f"CREATE SCHEMA {schema}", *copies)
        # What is said of them must not tell how their rows are written.
        self.site.write_as(self.chance.choice(get_args(Format)))
        self.entries.append(self.site.back_up())

    def columns(self, schema: str, table: str) -> list[str]:
        """The columns of a copy."""
        found = self.site.rows(
            "SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
            f" AND attrelid = '{schema}.{table}'::regclass ORDER BY attnum"
        )
        return [name for (name,) in found]

    def texts(self, query: str) -> list[tuple[Any, ...]]:
        """What PostgreSQL answers, under the settings of our sessions."""
        with connected(self.site.database.admin_url) as connection:
            return [tuple(row.values()) for row in connection.execute(query.encode())]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(name: str, alias: str = "") -> str:
    """SQL of a value's text by its output function; a cast cuts blanks of a char(n), for one."""
    value = alias + _quoted(name)
    if name == "ok":
        return f"{value}::text"
    return f"CASE WHEN {value} IS NOT NULL THEN format('%s', {value}) END"


def _case(site: Site, folder: Path, seed: int) -> None:
    campaign = _Campaign(site, folder, random.Random(seed))
    site.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", _SCHEMA)
    for number in range(10):
        campaign.edit()
        if number == 4:
            site.run("ALTER TABLE account ADD COLUMN extra text DEFAULT 'new'")
        if number == 6:
            site.run(
                "ALTER TABLE account DROP COLUMN m", "ALTER TABLE account ALTER id TYPE numeric"
            )
        campaign.back_up()
    _check_query(campaign)
    _check_history(campaign)
    pairs = [campaign.chance.sample(range(10), 2) for _ in range(4)]
    for number, (first, second) in enumerate([*pairs, (5, 6), (0, 9)]):
        _check_difference(campaign, number, first, second)
    campaign.edit()
    _check_live(campaign)
    for number in range(10):
        site.run(f"DROP SCHEMA s{number} CASCADE")


def _check_query(campaign: _Campaign) -> None:
    """Each table of one backup, value by value, and sums over all backups."""
    number = campaign.chance.randrange(10)
    for table in _TABLES:
        names = campaign.columns(f"s{number}", table)
        listed = ", ".join(_quoted(name) for name in names)
        found = _answer(campaign, [campaign.entries[number]], f"SELECT {listed} FROM {table}")
        cast = ", ".join(f"{_text(name)} AS {_quoted(name)}" for name in names)
        truth = campaign.texts(f"SELECT {cast} FROM s{number}.{table}")
        truth = [_read_floats(names, row) for row in truth]
        assert Counter(map(_as_texts, found)) == Counter(truth), table
    found = _answer(
        campaign,
        campaign.entries,
        "SELECT backup_id, count(*), count(name), count(DISTINCT code), sum(octet_length(raw)),"
        " max(u)::text FROM account GROUP BY ALL",
        many=True,
    )
    truth = [
        (campaign.entries[n].id, *row)
        for n in range(10)
        for row in campaign.texts(
            "SELECT count(*) a, count(name) b, count(DISTINCT code) c, sum(octet_length(raw)) d,"
            f" max(u::text) e FROM s{n}.account HAVING count(*) > 0"
        )
    ]
    assert sorted(map(str, found)) == sorted(map(str, truth))


def _answer(
    campaign: _Campaign, entries: Sequence[Manifest], sql: str, *, many: bool = False
) -> list[tuple[Any, ...]]:
    with asked(campaign.site.store, entries, sql, many=many) as answer:
        return [tuple(row) for row in answer.rows]


def _as_texts(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers as texts, since PostgreSQL was asked for those."""
    return tuple(
        str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
        for value in row
    )


def _read_floats(names: Sequence[str], row: tuple[Any, ...]) -> tuple[Any, ...]:
    """PostgreSQL's texts, but floats as Python prints them."""
    return tuple(
        str(float(text)) if name in _FLOATS and text and text[-1].isdigit() else text
        for name, text in zip(names, row, strict=True)
    )


def _check_history(campaign: _Campaign) -> None:
    """Every version of some records of each table with a key, and of one that never was."""
    for table, keys in _KEYS.items():
        for key in _some_keys(campaign, table, keys):
            expected = _versions(campaign, table, keys, key)
            found = history(campaign.site.store, campaign.entries, table, list(key), ignore)
            assert [(v.backup_id, v.record) for v in found.versions] == expected, (table, key)
            for before, version in pairwise([None, *found.versions]):
                assert version is not None
                old = before.record if before else None
                assert (version.event == "gone") == (version.record is None)
                if old is not None and version.record is not None:
                    assert version.event == "changed" and version.changes


def _some_keys(campaign: _Campaign, table: str, keys: Sequence[str]) -> list[tuple[str, ...]]:
    listed = ", ".join(f"{_quoted(k)}::text" for k in keys)
    if table == "price":
        listed = "trim_scale(k)::text"
    union = " UNION ".join(f"SELECT {listed} FROM s{n}.{table}" for n in range(10))
    everything = sorted(campaign.texts(f"SELECT * FROM ({union}) AS x"))
    return campaign.chance.sample(everything, min(6, len(everything)))


def _versions(
    campaign: _Campaign, table: str, keys: Sequence[str], key: Sequence[str]
) -> list[tuple[str, dict[str, Any] | None]]:
    found: list[tuple[str, dict[str, Any] | None]] = []
    for number, entry in enumerate(campaign.entries):
        names = campaign.columns(f"s{number}", table)
        cast = ", ".join(f"{_text(name)} AS {_quoted(name)}" for name in names)
        same = " AND ".join(
            f"{_quoted(name)} = '{value.replace(chr(39), chr(39) * 2)}'"
            for name, value in zip(keys, key, strict=True)
        )
        rows = campaign.texts(f"SELECT {cast} FROM s{number}.{table} WHERE {same}")
        record = dict(zip(names, rows[0], strict=True)) if rows else None
        if not found and record is None:
            continue
        if found and _without_nulls(found[-1][1]) == _without_nulls(record):
            continue
        found.append((entry.id, record))
    return found


def _without_nulls(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {k: v for k, v in record.items() if v is not None}


def _check_difference(campaign: _Campaign, number: int, first: int, second: int) -> None:
    old, new = campaign.entries[first], campaign.entries[second]
    folder = campaign.folder / f"{number}-{first}-{second}"
    folder.mkdir(parents=True)
    store = campaign.site.store
    with differences(of_backup(store, old), of_backup(store, new), (), folder, ignore) as found:
        _compare(campaign, found, f"s{first}", f"s{second}")
        if {t.digest for t in old.tables if t.name == "calm"} == {
            t.digest for t in new.tables if t.name == "calm"
        }:
            assert next(t for t in found.tables if t.table == "public.calm").by_digest


def _check_live(campaign: _Campaign) -> None:
    """The newest backup and the tables as they are now, of which the calm one is not read."""
    work = campaign.folder / "live"
    (work / "rows").mkdir(parents=True)
    (work / "work").mkdir()
    site = campaign.site
    before = of_backup(site.store, campaign.entries[-1])
    with (
        of_live(
            site.system, site.database.reader_url, before, frozenset(), work / "rows", ignore
        ) as now,
        differences(before, now, (), work / "work", ignore) as found,
    ):
        _compare(campaign, found, "s9", "public")
    assert not list((work / "rows").rglob("*calm*"))


def _compare(campaign: _Campaign, found: Any, first: str, second: str) -> None:
    assert not found.not_compared
    assert [t.table for t in found.tables] == sorted(f"public.{t}" for t in _TABLES)
    for table in found.tables:
        name = table.table.removeprefix("public.")
        rows = list(found.rows(table, None))
        expected = _expected(campaign, name, first, second)
        assert Counter(map(_row, rows)) == expected, (name, first, second)
        counts = Counter(row.op for row in rows)
        assert (table.insert, table.update, table.delete) == (
            counts["insert"],
            counts["update"],
            counts["delete"],
        )
        [(total,)] = campaign.texts(f"SELECT count(*) AS c FROM {first}.{name}")
        assert table.unchanged == total - table.update - table.delete
        changed = Counter(column for row in rows for column in row.changed)
        assert table.changed_columns == dict(changed)


def _row(row: RowDifference) -> tuple[Any, ...]:
    return row.op, _items(row.before), _items(row.after)


def _items(record: Mapping[str, Any] | None) -> frozenset[tuple[str, Any]] | None:
    return None if record is None else frozenset((_without_nulls(record) or {}).items())


def _expected(campaign: _Campaign, table: str, first: str, second: str) -> Counter[tuple[Any, ...]]:
    """The differences by PostgreSQL's own comparison of images; absent columns are left out."""
    sides = {"a": first, "b": second}
    columns = {alias: campaign.columns(schema, table) for alias, schema in sides.items()}
    arrays = {
        alias: ", ".join(_text(name, f"{alias}.") for name in names)
        for alias, names in columns.items()
    }
    if table not in _KEYS:
        texts = ", ".join(_text(name) for name in columns["a"])
        found: Counter[tuple[Any, ...]] = Counter()
        for op, left, right in (("delete", first, second), ("insert", second, first)):
            for row in campaign.texts(
                f"SELECT ARRAY[{texts}] AS r FROM {left}.{table} EXCEPT ALL"
                f" SELECT ARRAY[{texts}] AS r FROM {right}.{table}"
            ):
                items = _items(dict(zip(columns["a"], row[0], strict=True)))
                found[(op, items, None) if op == "delete" else (op, None, items)] += 1
        return found
    on = " AND ".join(f"a.{k} = b.{k}" for k in _KEYS[table])
    key = _KEYS[table][0]
    rows = campaign.texts(
        f"SELECT a.{key} IS NULL AS n, b.{key} IS NULL AS g, ARRAY[{arrays['a']}] AS a,"
        f" ARRAY[{arrays['b']}] AS b FROM {first}.{table} a FULL JOIN {second}.{table} b ON {on}"
    )
    return Counter(_differing(rows, columns))


def _differing(
    rows: Sequence[tuple[Any, ...]], columns: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Any, ...]]:
    for is_new, is_gone, old, new in rows:
        before = None if is_new else _items(dict(zip(columns["a"], old, strict=True)))
        after = None if is_gone else _items(dict(zip(columns["b"], new, strict=True)))
        if is_new or is_gone:
            yield "insert" if is_new else "delete", before, after
        elif before != after:
            yield "update", before, after


def _campaign(site: Site, folder: Path, cases: int, first: int) -> None:
    site.system = whole_system().model_copy(update={"schemas": ["public"]})
    site.run_as_admin(f"ALTER SCHEMA public OWNER TO {site.database.name}_owner")
    for seed in range(first, first + cases):
        try:
            _case(site, folder / str(seed), seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        print(f"seed {seed} passed")


def test_answers_are_postgresqls_own(
    server: EmbeddedServer, make_site: MakeSite, tmp_path: Path
) -> None:
    """Queries, histories and differences of ten backups of one randomly edited database."""
    _campaign(make_site(server), tmp_path, 1, first=1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_answers(any_server: Server, make_site: MakeSite, tmp_path: Path) -> None:
    """The same 40 times on each server."""
    _campaign(make_site(any_server), tmp_path, 40, first=SOAK_SEED)
