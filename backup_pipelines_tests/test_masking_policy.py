"""Rules of masking against tables: what cannot be is refused in a sentence, from either source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backup_pipelines import systems
from backup_pipelines.csv.export import Asked, export_backup, export_live
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.errors import Refused
from backup_pipelines.masking.facts import facts_of_backup, facts_of_live
from backup_pipelines.masking.masked_copy import copy_masked
from backup_pipelines.masking.policy import Policy, make_policy
from backup_pipelines.modules import Entry
from backup_pipelines.postgres.connection import connected
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.settings_masking import MaskingSpec
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ExcludedSpec, ModuleSpec, System
from backup_pipelines_tests.exactness import connect, contents
from backup_pipelines_tests.fix_backup import back_up, ignore
from backup_pipelines_tests.fix_masking import KEY
from backup_pipelines_tests.fix_postgres import Database, Server

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN code AS char(3);
CREATE TABLE people (
    id int PRIMARY KEY, ref uuid NOT NULL UNIQUE, email varchar(40), nick varchar(8), pin char(4),
    country code, ip inet, born date, ok bool, mood mood, score numeric(5,2), tags text[] NOT NULL,
    note text, first text, last text,
    shout text GENERATED ALWAYS AS (upper(note)) STORED,
    EXCLUDE USING btree (nick WITH =));
CREATE UNIQUE INDEX people_born ON people (born) WHERE ok;
CREATE UNIQUE INDEX "odd INDEX ON" ON people (lower(first), (last || 'note'));
CREATE TABLE visits (
    id bigint PRIMARY KEY, person int REFERENCES people, wide bigint REFERENCES people,
    ref uuid REFERENCES people (ref), company text UNIQUE);
CREATE TABLE works (company text REFERENCES visits (company), company_name text);
CREATE TABLE events (at date NOT NULL, who text, n int) PARTITION BY RANGE (at);
CREATE TABLE events_a PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE events_b PARTITION OF events DEFAULT;
CREATE TABLE parents (name text, more text);
CREATE TABLE heirs (own int) INHERITS (parents);
CREATE TABLE secrets (token text);
CREATE SCHEMA auth;
CREATE TABLE auth.users (email text);
INSERT INTO people (id, ref, email, nick, tags, note, first, last) VALUES
    (1, 'aaaaaaaa-0000-4000-8000-000000000001', 'ada@x.org', 'ada', '{}', 'n', 'Ada', 'L'),
    (2, 'aaaaaaaa-0000-4000-8000-000000000002', 'bob@x.org', 'bob', '{}', 'n', 'Bob', 'M');
INSERT INTO visits VALUES
    (1, 1, NULL, 'aaaaaaaa-0000-4000-8000-000000000001', 'Acme'), (2, 2, 1, NULL, 'Corp');
INSERT INTO works VALUES ('Acme', 'Acme'), ('Corp', 'Corp'), ('Corp', 'Acme');
INSERT INTO events VALUES ('2026-03-01', 'ada', 5), ('2020-01-01', 'bob', NULL);
INSERT INTO parents VALUES ('ada', 'x');
INSERT INTO heirs VALUES ('bob', 'y', 1);
INSERT INTO auth.users VALUES ('ada@x.org');
"""

SYSTEM = System(
    system="sample",
    database_url_env="SAMPLE_DATABASE_URL",
    modules={
        "people": ModuleSpec(tables=["people", "auth.users"]),
        "work": ModuleSpec(tables=["works"]),
        "rest": ModuleSpec(tables=["*.*"]),
    },
    excluded=[ExcludedSpec(table="secrets", reason="by the test")],
)

Make = Callable[[Server], Database]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the tests."""
    monkeypatch.setenv("BACKUP_MASKING_KEY", KEY)


@pytest.fixture
def people(server: EmbeddedServer, make_database: Make) -> Database:
    """The database of the rules."""
    made = make_database(server)
    made.run(SCHEMA)
    return made


def policies(spec: MaskingSpec, database: Database, store: Store) -> list[Policy | str]:
    """What the rules come to: against a backup, and against the live database."""
    entry = back_up(database.admin_url, store, SYSTEM)
    found: list[Policy | str] = []
    with connected(database.reader_url) as connection:
        for facts in (facts_of_backup(store, entry), facts_of_live(connection, SYSTEM)):
            try:
                found.append(make_policy(spec, facts))
            except Refused as error:
                found.append(str(error).replace(facts.what, "it"))
    return found


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"nobody": {"x": "hash"}}, "it has no table public.nobody"),
    ({"people": {"mail": "hash"}}, "it has no column mail in public.people; its columns are id, "),
    ({"events_a": {"who": "hash"}}, "public.events_a is a partition of public.events: name that"),
    ({"people": {"shout": "hash"}}, "public.people.shout cannot be hash: it is computed by the"),
    ({"people": {"ref": None}}, "public.people.ref cannot be null: it takes no NULL"),
    ({"people": {"pin": "hash"}}, "people.pin cannot be hash: character(4) is too short for a"),
    ({"people": {"nick": "hash"}}, "character varying(8) is too short for a hash, which has 32"),
    ({"people": {"country": "fake"}}, "it is of a domain over character(n)"),
    ({"people": {"mood": "hash"}}, "mood has no hash: texts, whole numbers and uuid have"),
    ({"people": {"score": "hash"}}, "numeric(5,2) has no hash"),
    ({"people": {"ok": "fake"}}, "boolean has no fake of its own: name a kind"),
    ({"people": {"mood": "fake"}}, "mood has no fake of its own"),
    ({"people": {"ref": "fake"}}, "uuid has no fake of its own"),
    ({"people": {"tags": "fake"}}, "text[] has no fake of its own: name a kind, such as fake"),
    ({"people": {"born": {"fake": "email"}}}, "date takes no fake email"),
    ({"people": {"note": {"fake": "number"}}}, "text takes no fake number"),
    ({"people": {"nick": {"fake": "ip"}}}, "is too short for a fake ip, which needs 14 characters"),
    ({"people": {"nick": {"fake": "email"}}}, "is too short for a fake email, which needs 24 char"),
    ({"people": {"nick": "fake"}}, "too short for a fake username, which needs 12 characters"),
    ({"people": {"born": "fake"}}, "it is part of a key or a unique index, and a fake date may"),
    ({"people": {"id": "fake"}}, "it is part of a key or a unique index, and a fake number"),
    ({"people": {"first": {"fake": "empty"}}}, "it is part of a key or a unique index, and a"),
    ({"visits": {"ref": "hash"}},
     "public.visits.ref is hash and public.people.ref, which it refers to, is keep: they must be "
     "masked alike"),
    ({"people": {"ref": "hash"}},
     "public.visits.ref is keep and public.people.ref, which it refers to, is hash: they must be"),
    ({"people": {"id": "hash"}, "visits": {"person": "hash", "wide": "hash"}},
     "public.visits.wide is hash and public.people.id, which it refers to, is hash, and their "
     "types differ"),
    ({"parents": {"name": "fake"}},
     "public.parents.name is masked, and nothing is said of public.heirs.name, which inherits it"),
    ({"people": "keep"}, "the rules mask nothing of it"),
]  # fmt: skip


def test_what_is_refused(people: Database, store: Store) -> None:
    """Each in one line that names the column and the reason, for a backup as for the database."""
    entry = back_up(people.admin_url, store, SYSTEM)
    with connected(people.reader_url) as connection:
        for facts in (facts_of_backup(store, entry), facts_of_live(connection, SYSTEM)):
            for rules, said in REFUSED:
                with pytest.raises(Refused) as refusal:
                    make_policy(MaskingSpec(tables=rules), facts)
                lines = str(refusal.value).replace(facts.what, "it").splitlines()
                assert any(said in line for line in lines), (rules, lines)
                assert all(line.startswith("masking: ") for line in lines)


def test_all_problems_are_told_at_once(people: Database, store: Store) -> None:
    """A line for each."""
    rules = {"people": {"pin": "hash", "ok": "fake"}, "nobody": {"x": "hash"}}
    for found in policies(MaskingSpec(tables=rules), people, store):
        assert isinstance(found, str)
        assert len(found.splitlines()) == 3


GOOD: dict[str, Any] = {
    "people": {
        "id": "hash", "ref": "hash", "email": "fake", "nick": None, "pin": None, "country": "null",
        "ip": "fake", "score": "fake", "tags": {"fake": "empty"}, "note": "fake",
        "first": {"fake": "first_name"}, "last": {"fake": "last_name"}, "*": "keep",
    },
    "visits": {"person": "hash", "wide": None, "ref": "hash", "company": "fake"},
    "works": {"company": "fake", "company_name": "fake"},
    "events": {"who": {"fake": "name"}, "n": "fake"},
    "parents": {"name": "fake"},
    "heirs": {"name": "keep"},
    "auth.users": {"email": "fake"},
    "secrets": {"token": "hash"},
}  # fmt: skip


def test_what_is_understood(people: Database, store: Store) -> None:
    """A backup and the live database come to the same masks, chosen by type and name; columns
    that make rows unique, alone or not, get fakes that do, and those that refer to them too."""
    kept, live = policies(MaskingSpec(tables=GOOD), people, store)
    assert isinstance(kept, Policy) and isinstance(live, Policy)
    assert (kept.masks, kept.undecided) == (live.masks, live.undecided)
    said = kept.in_words
    assert said["public.people.email"] == "fake email"
    assert said["public.people.ip"] == "fake ip"
    assert said["public.people.score"] == "fake number"
    assert said["public.people.note"] == "fake text"
    assert said["public.works.company_name"] == "fake company"
    assert said["public.parents.name"] == "fake name"
    assert "public.heirs.name" not in said
    marked = {
        f"{table}.{column}"
        for table, masks in kept.masks.items()
        for column, mask in masks.items()
        if mask.wanted.marked
    }
    assert marked == {
        *("public.people.first", "public.people.last"),
        *("public.visits.company", "public.works.company"),
    }
    assert kept.of("public.events_b") == kept.of("public.events") != {}


def test_tables_of_all_kinds(
    people: Database, server: EmbeddedServer, make_database: Make, store: Store, tmp_path: Path
) -> None:
    """Partitions are masked as their table says, heirs as they are decided on, foreign keys over
    fakes and hashes hold; files and a restored copy have the same rows."""
    system = SYSTEM.model_copy(update={"masking": MaskingSpec(tables=GOOD)})
    entry, target = back_up(people.admin_url, store, system), make_database(server)
    done = copy_masked(system, store, entry, target.admin_url, report=ignore)
    counted = {one.column: one.values for one in done.columns}
    assert (counted["public.events.who"], counted["public.events.n"]) == (2, 1)
    found = contents(target.admin_url)
    whole = b"\n".join(line for lines in found.values() for line in lines)
    assert not [word for word in (b"ada@x", b"Acme", b"aaaaaaaa-", b"Corp") if word in whole]
    assert found["public.heirs"][1:] == [b"y\tbob\t1"]
    with connect(target.admin_url) as connection:
        joined = connection.execute(
            "SELECT count(*) FROM public.works w JOIN public.visits v ON w.company = v.company"
            " JOIN public.people p ON p.id = v.person"
        ).fetchone()
        upper = connection.execute(
            "SELECT bool_and(shout = upper(note)) FROM public.people"
        ).fetchone()
    assert (joined, upper) == ((3,), (True,))
    selection, files = Selection(modules=("people", "work", "rest")), list[dict[str, bytes]]()
    for name in ("live", "kept"):
        asked = Asked(selection, tmp_path / name, masking=system.masking)
        if name == "live":
            export_live(system, people.reader_url, asked, report=ignore)
        else:
            export_backup(store, entry, asked, report=ignore)
        files.append({path.name: path.read_bytes() for path in asked.to.glob("*.csv")})
    assert files[0] == files[1] and "events.csv" in files[0]


def test_a_backup_of_some_modules(
    people: Database, server: EmbeddedServer, make_database: Make, store: Store
) -> None:
    """Rules for tables whose rows it does not hold are no mistake, a misspelt table is one; the
    masks are those of a backup of everything."""
    system = SYSTEM.model_copy(update={"masking": MaskingSpec(tables=GOOD)})
    entries = [Entry("people", "table", "public.people"), Entry("people", "table", "auth.users")]
    entry, target = back_up(people.admin_url, store, system, entries), make_database(server)
    copy_masked(system, store, entry, target.admin_url, report=ignore)
    found = contents(target.admin_url)
    held = {name: b"".join(lines) for name, lines in found.items()}
    assert held["public.people"] and not held["public.visits"]
    assert b"@x.org" not in held["public.people"] + held["auth.users"]
    whole = facts_of_backup(store, back_up(people.admin_url, store, system))
    work = [Entry("work", "table", "public.works")]
    alone = facts_of_backup(store, back_up(people.admin_url, store, system, work))
    of_work, of_all = (make_policy(MaskingSpec(tables=GOOD), facts) for facts in (alone, whole))
    assert of_work.masks == {"public.works": of_all.of("public.works")}
    wrong = MaskingSpec(tables={**GOOD, "vists": {"company": "fake"}})
    with pytest.raises(Refused, match=r"has no table public\.vists"):
        make_policy(wrong, facts_of_backup(store, entry))


def test_what_nobody_decided_on(people: Database, store: Store) -> None:
    """It is kept and counted, or refused until somebody says so, as * and keep for a table do."""
    plain = MaskingSpec(tables=GOOD)
    for found in policies(plain, people, store):
        assert isinstance(found, Policy)
        # visits.id, events.at, parents.more, heirs.more and heirs.own
        assert found.undecided == 5
    strict = MaskingSpec(tables=GOOD, undecided="refuse")
    for found in policies(strict, people, store):
        assert isinstance(found, str)
        assert "undecided is refuse, and nothing is said of " in found
        for column in ("public.visits.id", "public.events.at", "public.heirs.own"):
            assert column in found
        assert "secrets" not in found and "people" not in found
    rest: dict[str, Any] = {
        "visits": {**GOOD["visits"], "*": "keep"},
        "events": {**GOOD["events"], "at": "keep"},
        "parents": {"name": "fake", "more": "keep"},
        "heirs": "keep",
    }
    people.run("ALTER TABLE auth.users ADD COLUMN phone text")
    for found in policies(MaskingSpec(tables=GOOD | rest, undecided="refuse"), people, store):
        assert found == (
            "masking: undecided is refuse, and nothing is said of auth.users.phone: decide, or "
            "write keep"
        )


YAML = """\
type: backup_pipelines.PostgresBackup

attributes:
  system: sample
  database_url_env: SAMPLE_DATABASE_URL
  modules:
    all:
      tables: ["*.*"]
  masking:
    undecided: refuse
    tables:
"""


def test_the_yaml(tmp_path: Path) -> None:
    """Actions, a plain null, kinds, and keep for a whole table."""
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "defs.yaml").write_text(
        YAML + "      people:\n        email:\n          fake: email\n        a: fake\n"
        "        b: null\n        c: hash\n        '*': keep\n      auth.users: keep\n"
    )
    masking = systems.load_system("sample", tmp_path).masking
    assert masking is not None and masking.undecided == "refuse"
    assert masking.rules_of("public.people") == {
        "email": "fake email", "a": "fake", "b": "null", "c": "hash", "*": "keep",
    }  # fmt: skip
    assert masking.rules_of("auth.users") == {"*": "keep"}
    assert masking.rules_of("auth.people") == {}


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (
            "people:\n        email: fkae",
            "13: masking.tables.people.email: must be keep, null, hash",
        ),
        (
            "people:\n        email: {fake: mail}",
            "13: masking.tables.people.email: a fake is one of",
        ),
        ("people:\n        email: [hash]", "13: masking.tables.people.email: must be keep, null"),
        ("people: drop", "12: masking.tables.people: must be a section with keys of its own"),
        ("people:\n        '*': hash", "11: masking.tables: * of people can only be keep"),
        ("p_*:\n        email: hash", "11: masking.tables: p_* is a pattern: name each table"),
        ("people: keep\n      public.people: keep", "public.people and people are the same table"),
    ],
)
def test_mistakes_in_the_yaml(tmp_path: Path, added: str, said: str) -> None:
    """File, line, field, and what there is."""
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "defs.yaml").write_text(f"{YAML}      {added}\n")
    with pytest.raises(Refused) as refusal:
        systems.load_system("sample", tmp_path)
    assert said in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_unknown_key_of_the_section() -> None:
    """There are two."""
    with pytest.raises(ValidationError, match="others"):
        MaskingSpec.model_validate({"tables": {}, "others": "keep"})
