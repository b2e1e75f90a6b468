"""Foreign keys around a restore: lifted, put back as they were, and never acting on others."""

import psycopg
import pytest

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite

_CYCLE = """
CREATE TABLE team (id int PRIMARY KEY, name text, lead_id int NOT NULL);
CREATE TABLE person (id int PRIMARY KEY, team_id int NOT NULL REFERENCES team);
ALTER TABLE team ADD CONSTRAINT team_lead FOREIGN KEY (lead_id) REFERENCES person
    DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT team_lead ON team IS 'who leads';
INSERT INTO team SELECT g, 't' || g, g FROM generate_series(1, 20) g;
INSERT INTO person SELECT g, 1 + g % 20 FROM generate_series(1, 60) g;
"""


def test_a_cycle_of_keys_is_restored(any_server: Server, make_site: MakeSite) -> None:
    """Two tables that reference each other come back, deferrable and commented as they were."""
    site = make_site(any_server, _CYCLE)
    entry, before = site.back_up(), site.image()
    site.run(
        "BEGIN; DELETE FROM person WHERE team_id IN (3, 4) OR id IN (3, 4);"
        " DELETE FROM team WHERE id IN (3, 4);"
        " UPDATE team SET lead_id = 1 WHERE NOT EXISTS (SELECT FROM person p WHERE p.id = lead_id);"
        " COMMIT"
    )
    changed = site.image()
    site.restore(entry, with_safety=True)
    assert site.image() == before
    site.undo()
    assert site.image() == changed


def test_a_self_reference_is_restored(any_server: Server, make_site: MakeSite) -> None:
    """Rows that reference rows of the same table come back in one go, a changed tree as well."""
    site = make_site(
        any_server,
        "CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node ON DELETE CASCADE);"
        " INSERT INTO node SELECT g, nullif(g / 2, 0) FROM generate_series(1, 100) g",
    )
    entry, before = site.back_up(), site.image()
    site.run(
        "DELETE FROM node WHERE id = 3",
        "UPDATE node SET up = 2 WHERE id = 9",
        "INSERT INTO node VALUES (200, 1)",
    )
    assert site.rows("SELECT count(*) FROM node WHERE up = 3") == [(0,)]
    site.restore(entry)
    assert site.image() == before


def test_a_not_valid_key_stays_not_valid(any_server: Server, make_site: MakeSite) -> None:
    """A key that was never validated is put back so, over rows that it would not allow."""
    site = make_site(
        any_server,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int);"
        " INSERT INTO p SELECT generate_series(1, 9); INSERT INTO c VALUES (1, 1), (2, 99);"
        " ALTER TABLE c ADD CONSTRAINT loose FOREIGN KEY (p) REFERENCES p NOT VALID",
    )
    entry, before = site.back_up(), site.image()
    site.run("INSERT INTO p VALUES (77)", "DELETE FROM p WHERE id = 5")
    site.restore(entry)
    assert site.image() == before
    assert site.rows("SELECT convalidated FROM pg_constraint WHERE conname = 'loose'") == [(False,)]


def test_a_key_to_another_roles_table_is_left_alone(
    any_server: Server, make_site: MakeSite
) -> None:
    """auth.users belongs to somebody else: rows that reference it are restored under its key."""
    site = make_site(
        any_server,
        as_admin=(
            "CREATE SCHEMA auth; CREATE TABLE auth.users (id int PRIMARY KEY, n int);"
            " INSERT INTO auth.users VALUES (1), (2), (3); GRANT USAGE ON SCHEMA auth TO PUBLIC;"
            " GRANT SELECT, REFERENCES ON auth.users TO PUBLIC",
        ),
    )
    site.run(
        "CREATE TABLE profile (id int PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE, n text);"
        " INSERT INTO profile VALUES (1, 'a'), (2, 'b'), (3, 'c')"
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM profile WHERE id = 2", "UPDATE profile SET n = 'x' WHERE id = 3")
    site.restore(entry)
    assert site.image() == before

    site.run_as_admin("DELETE FROM auth.users WHERE id = 1")
    changed = site.image()
    with pytest.raises(Refused, match=r"auth\.users belongs to postgres"):
        site.restore(entry)
    with pytest.raises(Refused, match=r"1 rows of public\.profile .*auth\.users.*profile_id_fkey"):
        site.restore(entry, Selection(tables=("profile",)))
    assert site.image() == changed


def test_another_roles_rows_are_never_cascaded_to(any_server: Server, make_site: MakeSite) -> None:
    """A key that belongs to another role cannot be lifted: what it would delete is refused."""
    site = make_site(any_server, "CREATE TABLE item (id int PRIMARY KEY, code int UNIQUE)")
    site.run("INSERT INTO item SELECT g, g FROM generate_series(1, 5) g")
    entry = site.back_up()
    site.run("INSERT INTO item VALUES (6, 6)")
    site.run_as_admin(
        "CREATE TABLE theirs (id int REFERENCES item ON DELETE CASCADE,"
        " code int REFERENCES item (code) ON UPDATE CASCADE ON DELETE CASCADE);"
        " INSERT INTO theirs VALUES (6, 6)"
    )
    before = site.image()
    with pytest.raises(Refused, match=r"public\.theirs .*may not read: grant it SELECT"):
        site.restore(entry)
    site.run_as_admin("GRANT SELECT ON theirs TO PUBLIC")
    with pytest.raises(Refused, match=r"1 rows of public\.theirs would be deleted"):
        site.restore(entry)
    assert site.image() == before

    site.run_as_admin("UPDATE theirs SET id = 1, code = 2")
    site.run("DELETE FROM item WHERE id = 6", "UPDATE item SET code = 33 WHERE id = 3")
    site.restore(entry)
    assert site.rows("SELECT id, code FROM theirs") == [(1, 2)]
    assert site.rows("SELECT code FROM item WHERE id = 3") == [(3,)]


def test_unselected_children_are_refused_with_the_closure(
    any_server: Server, make_site: MakeSite
) -> None:
    """ON DELETE CASCADE and SET NULL never touch a table that was not selected."""
    site = make_site(
        any_server,
        "CREATE TABLE p (id int PRIMARY KEY);"
        " CREATE TABLE casc (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);"
        " CREATE TABLE nulls (id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL);"
        " INSERT INTO p VALUES (1)",
    )
    entry = site.back_up()
    site.run("INSERT INTO p VALUES (2)", "INSERT INTO casc VALUES (1, 2)")
    site.run("INSERT INTO nulls VALUES (1, 2), (2, 1)")
    before = site.image()
    plan = site.plan(entry, Selection(tables=("p",)))
    assert plan.closure == ("public.casc", "public.nulls")
    with pytest.raises(Refused) as refused:
        site.restore(entry, Selection(tables=("p",)))
    assert "1 rows of public.casc would be deleted by ON DELETE CASCADE" in str(refused.value)
    assert "1 rows of public.nulls would be set to NULL" in str(refused.value)
    assert "add to the selection: public.casc, public.nulls" in str(refused.value)
    assert site.image() == before
    site.restore(entry, Selection(tables=("p", *plan.closure)))
    assert site.rows("SELECT id FROM p") == [(1,)]
    assert site.rows("SELECT count(*) FROM casc") == [(0,)]


def test_missing_parents_are_refused_with_the_closure(
    any_server: Server, make_site: MakeSite
) -> None:
    """Rows whose parents are gone are not restored alone; with the parents they are."""
    site = make_site(
        any_server,
        "CREATE TABLE p (id int PRIMARY KEY);"
        " CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);"
        " INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1, 1), (2, 2), (3, NULL)",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM p WHERE id = 2")
    plan = site.plan(entry, Selection(tables=("c",)))
    assert plan.closure == ("public.p",)
    with pytest.raises(Refused, match=r"1 rows of public\.c reference rows of public\.p"):
        site.restore(entry, Selection(tables=("c",)))
    site.restore(entry, Selection(tables=("c", "p")))
    assert site.image() == before


def test_keys_on_partitioned_tables_are_put_back(any_server: Server, make_site: MakeSite) -> None:
    """Keys from and to partitioned tables keep their names, their comments and their clones."""
    site = make_site(
        any_server,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
        " CREATE TABLE c (id int PRIMARY KEY, up int REFERENCES c, p int,"
        "   CONSTRAINT c_to_p FOREIGN KEY (p) REFERENCES p ON DELETE CASCADE)"
        "   PARTITION BY RANGE (id);"
        " CREATE TABLE c1 (id int PRIMARY KEY, up int, p int,"
        "   CONSTRAINT own_name FOREIGN KEY (p) REFERENCES p ON DELETE CASCADE);"
        " ALTER TABLE c ATTACH PARTITION c1 FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE c2 PARTITION OF c FOR VALUES FROM (10) TO (20);"
        " COMMENT ON CONSTRAINT c_to_p ON c IS 'to p';"
        " INSERT INTO p SELECT generate_series(1, 19);"
        " INSERT INTO c SELECT g, nullif(20 - g, g), g FROM generate_series(1, 19) g",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM c WHERE id IN (5, 15)", "DELETE FROM c; DELETE FROM p WHERE id > 3")
    changed = site.image()
    site.restore(entry, with_safety=True)
    assert site.image() == before
    site.undo()
    assert site.image() == changed


def test_a_key_that_fails_at_the_end_is_named(any_server: Server, make_site: MakeSite) -> None:
    """An upsert that would leave a live row without its parent says which key and which table."""
    site = make_site(
        any_server,
        "CREATE TABLE rack (id int PRIMARY KEY, name text UNIQUE);"
        " CREATE TABLE server (id int PRIMARY KEY, rack text REFERENCES rack (name)"
        "   ON UPDATE CASCADE);"
        " INSERT INTO rack VALUES (1, 'A'); INSERT INTO server VALUES (1, 'A')",
    )
    entry = site.back_up()
    site.run("UPDATE rack SET name = 'B'", "INSERT INTO server VALUES (2, 'B')")
    before = site.image()
    with pytest.raises(Failed, match=r"server_rack_fkey of public\.server"):
        site.restore(entry, mode="upsert")
    assert site.image() == before
    with psycopg.connect(site.database.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM server").fetchone() == (2,)
