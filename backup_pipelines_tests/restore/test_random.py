"""Random edits after a backup, then restores of everything or of a part, and their undoing."""

import random
import uuid
from typing import get_args

import psycopg
import pytest

from backup_pipelines.errors import BackupError
from backup_pipelines.layout import Format
from backup_pipelines.postgres import by_keys
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site

_SCHEMA = """
CREATE TYPE kind AS ENUM ('a', 'b', 'c');
CREATE TABLE site (id int PRIMARY KEY, name text UNIQUE, boss int, k kind);
CREATE TABLE person (id int PRIMARY KEY, site int REFERENCES site ON DELETE SET NULL
    ON UPDATE CASCADE, mentor int REFERENCES person ON DELETE SET NULL ON UPDATE CASCADE,
    badge numeric(8, 2) UNIQUE, score float8);
ALTER TABLE site ADD FOREIGN KEY (boss) REFERENCES person ON DELETE SET NULL ON UPDATE CASCADE
    DEFERRABLE;
CREATE TABLE event (id int, person int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE,
    day int, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (10) TO (20);
CREATE TABLE line (site_name text REFERENCES site (name) ON UPDATE CASCADE ON DELETE CASCADE,
    n int, doc jsonb);
CREATE TABLE alone (id serial PRIMARY KEY, v text, len int GENERATED ALWAYS AS (length(v)) STORED);
"""

# A selection must hold what references its tables and what they reference.
_CLOSED = (
    ("alone",),
    ("event", "line", "person", "site"),
    ("alone", "event", "line", "person", "site"),
)

_EDITS = (
    "INSERT INTO site VALUES ({id}, '{word}', NULL, 'b')",
    "INSERT INTO person VALUES ({id}, (SELECT min(id) FROM site WHERE id > {small}),"
    " (SELECT max(id) FROM person WHERE id < {small}), {id}.50, {small} / 3.0)",
    "INSERT INTO event SELECT {id}, min(id), {day}, '{word}' FROM person WHERE id > {small}",
    "INSERT INTO line SELECT name, {day}, '{{\"a\": {small}}}' FROM site WHERE id % 5 = {day} % 5",
    "INSERT INTO alone (v) VALUES ('{word}'), (NULL), ('')",
    "DELETE FROM site WHERE id % 7 = {day} % 7",
    "DELETE FROM person WHERE id % 9 = {day} % 9",
    "DELETE FROM event WHERE day = {day}",
    "DELETE FROM line WHERE ctid IN (SELECT ctid FROM line ORDER BY random() LIMIT 3)",
    "DELETE FROM alone WHERE id = {small}",
    "DELETE FROM alone",
    "UPDATE site SET id = -id WHERE id % 4 = {day} % 4",
    "UPDATE site SET name = 'moved ' || id WHERE id % 6 = {day} % 6",
    "UPDATE site SET boss = (SELECT max(id) FROM person WHERE id < {small} + 20)"
    " WHERE id % 3 = {day} % 3",
    "UPDATE person SET id = id + 100000 WHERE id % 8 = {day} % 8",
    "UPDATE person SET badge = -badge WHERE badge > 0",
    "UPDATE person SET mentor = (SELECT min(id) FROM person) WHERE id % 3 = 1",
    "UPDATE person SET score = '-0' WHERE id = {small}",
    "UPDATE event SET day = (day + 10) % 20 WHERE id % 5 = {day} % 5",
    "UPDATE line SET n = n + 1 WHERE n < {day}",
    "UPDATE alone SET v = v || 'x' WHERE id > {small}",
    "BEGIN; UPDATE site SET name = '~' || name WHERE id IN (1, 2);"
    " UPDATE site SET name = CASE id WHEN 1 THEN 's2' ELSE 's1' END WHERE id IN (1, 2); COMMIT",
)


def _fill(site: Site, chance: random.Random) -> None:
    rows = chance.choice((0, 8, 40))
    site.run(
        _SCHEMA,
        f"INSERT INTO site SELECT g, 's' || g, NULL, 'a' FROM generate_series(1, {rows}) g",
        f"INSERT INTO person SELECT g, g, nullif(g / 2, 0), g, g FROM generate_series(1, {rows}) g",
        "UPDATE site SET boss = id",
        "INSERT INTO event SELECT g, 1 + g % nullif((SELECT count(*) FROM person), 0), g % 20, 'n'"
        f" FROM generate_series(1, {rows * 3}) g",
        f"INSERT INTO line SELECT name, g % 3, '{{}}' FROM site, generate_series(1, {rows // 4}) g",
        f"INSERT INTO alone (v) SELECT 'v' || g FROM generate_series(1, {rows}) g",
    )


def _edit(site: Site, chance: random.Random) -> None:
    """Some edits; those that break a constraint of the schema are none."""
    with psycopg.connect(site.database.owner_url, autocommit=True) as connection:
        for _ in range(chance.randrange(1, 9)):
            statement = chance.choice(_EDITS).format(
                id=chance.randrange(1000, 9999),
                small=chance.randrange(1, 40),
                day=chance.randrange(20),
                word=uuid.UUID(int=chance.getrandbits(128)),
            )
            try:
                connection.execute(statement.encode())
            except psycopg.IntegrityError:
                connection.execute("ROLLBACK")


def _case(site: Site, seed: int, patch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    # These tables are small: without this none would be compared by keys alone.
    patch.setattr(by_keys, "_WORTH_IT_ROWS", chance.choice((0, 10**6)))
    patch.setattr(by_keys, "_FEW", 0.9)
    site.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    _fill(site, chance)
    site.write_as(chance.choice(get_args(Format)))
    entry, whole = site.back_up(), site.image()
    _edit(site, chance)
    edited = site.image()

    tables = chance.choice(_CLOSED)
    site.restore(entry, Selection(tables=tables), with_safety=True)
    now = site.digests()
    for name, digest in now.items():
        table = name.removeprefix("public.").removesuffix("_1").removesuffix("_2")
        expected = whole if table in tables else edited
        assert digest == expected.digests[name], name
    site.undo()
    assert site.image() == edited

    site.restore(entry)
    assert site.image() == whole
    _edit(site, chance)
    edited = site.image()
    try:
        site.restore(entry, mode="upsert")
    except BackupError:
        # Rows of today may hold the unique values, or reference the keys, that have to go.
        assert site.image() == edited
    else:
        assert site.plan(entry, mode="upsert").rows == 0


def _campaign(site: Site, cases: int, first: int) -> None:
    for seed in range(first, first + cases):
        try:
            with pytest.MonkeyPatch.context() as patch:
                _case(site, seed, patch)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        print(f"seed {seed} passed")


def _site(on: Server, make_site: MakeSite) -> Site:
    site = make_site(on)
    site.run_as_admin(f"ALTER SCHEMA public OWNER TO {site.database.name}_owner")
    return site


def test_random_edits_are_restored_and_undone(any_server: Server, make_site: MakeSite) -> None:
    """A part restored is the backup's, the rest is untouched, undone it is as before; then all."""
    _campaign(_site(any_server, make_site), 5, first=1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_many_random_edits(any_server: Server, make_site: MakeSite) -> None:
    """The same 150 times on each server."""
    _campaign(_site(any_server, make_site), 150, first=SOAK_SEED)
