"""Dropped tables whose surroundings changed meanwhile, or hang together in circles."""

from collections.abc import Sequence

import psycopg
import pytest

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.restore import LiveRestored
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.undo import last_safety_backup
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite, Site
from backup_pipelines_tests.restore.interruptions import nothing_of_ours_is_left
from backup_pipelines_tests.test_awkward_schema import dumped, major_of

_ACC = Selection(tables=("acc",))
_DROPPED = "DROP TABLE acc CASCADE"


def _schema_of(site: Site) -> list[str]:
    return dumped(site.database.admin_url, major_of(site.database))


def _undo(site: Site, done: LiveRestored, lock_seconds: float = 30.0) -> LiveRestored:
    entry = last_safety_backup(site.store, site.system.system)
    return site.restore(entry, with_safety=True, takes_back=done.made, lock_seconds=lock_seconds)


def _warnings(done: LiveRestored) -> str:
    return "\n".join(text for table in done.plan.tables for text in table.warnings)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["ALTER TABLE boss RENAME id TO number"],
         r"its foreign key acc_up_fkey references public\.boss, which has no column id any more"),
        (["ALTER TABLE boss RENAME TO old", "CREATE VIEW boss AS SELECT * FROM old"],
         r"its foreign key acc_up_fkey references public\.boss, which is a view now"),
    ],
)  # fmt: skip
def test_a_key_to_what_is_no_longer_there_is_refused(
    any_server: Server, make_site: MakeSite, statements: Sequence[str], reason: str
) -> None:
    """A column that was renamed, a table that became a view: the plan says it, in a sentence."""
    site = make_site(
        any_server,
        "CREATE TABLE boss (id int PRIMARY KEY); INSERT INTO boss VALUES (1);"
        " CREATE TABLE acc (up int REFERENCES boss); INSERT INTO acc VALUES (1), (NULL)",
    )
    entry = site.back_up()
    site.run(_DROPPED, *statements)
    before = site.image()
    plan = site.plan(entry, _ACC)
    assert (plan.created, len(plan.refused)) == ((), 1)
    with pytest.raises(Refused, match="public.acc does not exist any more.*: " + reason):
        site.restore(entry, _ACC)
    assert site.image() == before


def test_a_key_of_what_became_a_view_is_not_put_back(
    any_server: Server, make_site: MakeSite
) -> None:
    """A view of the name of a table that referenced the dropped one does not stop the restore."""
    site = make_site(
        any_server,
        "CREATE TABLE acc (id int PRIMARY KEY); INSERT INTO acc VALUES (1);"
        " CREATE TABLE other (id int REFERENCES acc)",
    )
    entry = site.back_up()
    site.run(_DROPPED, "ALTER TABLE other RENAME TO old", "CREATE VIEW other AS SELECT * FROM old")
    done = site.restore(entry, _ACC)
    assert (
        "foreign key other_id_fkey of public.other went with it and is not put back: "
        "that is a view now. It was: ALTER TABLE ONLY public.other"
    ) in _warnings(done)
    assert site.rows("SELECT id FROM acc") == [(1,)]


_IN_CIRCLES = """
CREATE TABLE acc (id int PRIMARY KEY, up int);
CREATE TABLE part (id int PRIMARY KEY, kind text) PARTITION BY LIST (kind);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE VIEW v AS SELECT acc.id FROM acc JOIN part USING (id);
CREATE VIEW w AS SELECT id FROM v;
CREATE FUNCTION is_top(one acc) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT one.up IS NULL';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE POLICY few ON acc USING (id IN (SELECT id FROM v));
CREATE RULE "No;body" AS ON DELETE TO acc WHERE EXISTS (SELECT FROM w) DO INSTEAD NOTHING;
CREATE TRIGGER "to;p" BEFORE INSERT ON acc FOR EACH ROW WHEN (is_top(NEW.*))
    EXECUTE FUNCTION nothing();
CREATE TRIGGER each BEFORE INSERT ON part FOR EACH ROW WHEN (NEW.kind > '')
    EXECUTE FUNCTION nothing();
CREATE RULE into_w AS ON INSERT TO v DO INSTEAD DELETE FROM acc WHERE id IN (SELECT id FROM w);
INSERT INTO acc VALUES (1, NULL), (2, 1);
INSERT INTO part VALUES (1, 'a');
"""


def test_what_hangs_together_in_circles_is_taken_back(
    any_server: Server, make_site: MakeSite
) -> None:
    """Policies, rules and triggers of a table that read views and functions of its own rows."""
    site = make_site(any_server, _IN_CIRCLES.replace("id int PRIMARY KEY, kind", "id int, kind"))
    entry, schema, whole = site.back_up(), _schema_of(site), site.image()
    site.run("DROP TABLE acc, part CASCADE")
    gone = _schema_of(site)
    done = site.restore(entry, with_safety=True)
    assert (_schema_of(site), site.image()) == (schema, whole)
    undone = _undo(site, done)
    assert undone.dropped == ("public.acc", "public.part", "public.part_a")
    assert _schema_of(site) == gone
    _undo(site, undone)
    assert (_schema_of(site), site.image()) == (schema, whole)
    nothing_of_ours_is_left(site)


def test_a_table_whose_owner_has_no_rights_is_taken_back(
    any_server: Server, make_site: MakeSite
) -> None:
    """Who owns it may drop it, though the backup's grants let him neither read nor lock it."""
    site = make_site(any_server, "CREATE TABLE acc (id int); INSERT INTO acc VALUES (1)")
    site.run("REVOKE ALL ON acc FROM CURRENT_USER")
    entry, schema = site.back_up(), _schema_of(site)
    site.run(_DROPPED)
    done = site.restore(entry, _ACC, with_safety=True)
    assert _schema_of(site) == schema
    assert _undo(site, done).dropped == ("public.acc",)


_OF_ANOTHER = """
CREATE TABLE acc (id int PRIMARY KEY, code text); INSERT INTO acc VALUES (1, 'a');
CREATE VIEW v AS SELECT id FROM acc;
CREATE VIEW grouped AS SELECT id, code, count(*) FROM acc GROUP BY id;
COMMENT ON VIEW grouped IS 'by its key'; GRANT SELECT ON v, grouped TO PUBLIC;
CREATE MATERIALIZED VIEW m AS SELECT id FROM acc;
CREATE FUNCTION all_of_it() RETURNS SETOF acc LANGUAGE sql SECURITY DEFINER
    AS 'SELECT * FROM public.acc';
CREATE FUNCTION plain() RETURNS SETOF acc LANGUAGE sql AS 'SELECT * FROM public.acc';
"""


def test_what_acts_with_the_rights_of_its_owner_is_not_given_to_another(
    any_server: Server, make_site: MakeSite
) -> None:
    """Views and functions whose owner cannot be set are left out with a warning."""
    site = make_site(any_server, _OF_ANOTHER)
    site.run_as_admin(
        "ALTER VIEW v OWNER TO postgres; ALTER VIEW grouped OWNER TO postgres;"
        " ALTER MATERIALIZED VIEW m OWNER TO postgres;"
        " ALTER FUNCTION all_of_it() OWNER TO postgres; ALTER FUNCTION plain() OWNER TO postgres;"
        " GRANT SELECT ON acc TO postgres"
    )
    entry = site.back_up()
    site.run_as_admin(_DROPPED)
    done = site.restore(entry, _ACC, with_safety=True)
    warnings = _warnings(done)
    for kind, name in (
        ("view", "v"),
        ("view", "grouped"),
        ("materialized view", "m"),
        ("function", "all_of_it()"),
    ):
        assert f"{kind} public.{name} went with it and cannot be put back: it belonged" in warnings
    assert "left out: owner of plain()" in warnings
    assert "acl" not in warnings
    assert "comment" not in warnings
    assert site.rows(
        "SELECT relname::text FROM pg_class WHERE relname IN ('v', 'grouped', 'm') UNION"
        " SELECT proname FROM pg_proc WHERE proname IN ('all_of_it', 'plain')"
    ) == [("plain",)]
    assert _undo(site, done).dropped == ("public.acc",)


def test_a_plan_leaves_the_grants_of_what_has_the_name_alone(
    any_server: Server, make_site: MakeSite
) -> None:
    """A view of another role in the place of the dropped table is refused in words."""
    site = make_site(any_server, "CREATE TABLE acc (id int)")
    entry = site.back_up()
    site.run(_DROPPED)
    site.run_as_admin(
        f"CREATE VIEW acc AS SELECT 1 AS id; GRANT SELECT ON acc TO {site.database.name}_reader"
    )
    assert [text.rpartition(": ")[2] for text in site.plan(entry, _ACC).refused] == [
        "there is a view of that name now; rename or drop it"
    ]


def test_a_view_that_somebody_made_meanwhile_stays_his(
    any_server: Server, make_site: MakeSite
) -> None:
    """It keeps its grants, and the undo does not drop it."""
    site = make_site(
        any_server,
        "CREATE TABLE acc (id int); CREATE VIEW v AS SELECT id FROM acc;"
        " CREATE FUNCTION f() RETURNS SETOF acc LANGUAGE sql AS 'SELECT * FROM public.acc'",
    )
    reader = f"{site.database.name}_reader"
    entry = site.back_up()
    site.run(_DROPPED)

    def report(message: str) -> None:
        if message.startswith("making triggers"):
            site.run(
                f"CREATE VIEW v AS SELECT 2 AS id; GRANT SELECT ON v TO {reader};"
                " CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 3';"
                " REVOKE ALL ON FUNCTION f() FROM PUBLIC"
            )

    done = site.restore(entry, _ACC, with_safety=True, report=report)
    assert "view public.v went with it and cannot be put back" in _warnings(done)
    assert "function public.f() went with it and cannot be put back" in _warnings(done)
    assert [one.qualified for one in done.made] == ["public.acc"]
    assert _undo(site, done).dropped == ("public.acc",)
    assert site.rows("SELECT id, f() FROM v") == [(2, 3)]
    assert site.rows(
        f"SELECT has_table_privilege('{reader}', 'v', 'SELECT'),"
        f" has_function_privilege('{reader}', 'f()', 'EXECUTE')"
    ) == [(True, False)]


def test_half_a_view_is_not_left(any_server: Server, make_site: MakeSite) -> None:
    """A view that pg_dump makes in two steps, and whose second one fails, is not there at all."""
    site = make_site(
        any_server,
        "CREATE TABLE acc (id int PRIMARY KEY, code text);"
        " CREATE FUNCTION makes() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        " CREATE VIEW half AS SELECT id, code, makes() AS n, count(*) FROM acc GROUP BY id;"
        " CREATE VIEW of_half AS SELECT id FROM half",
    )
    entry = site.back_up()
    site.run(_DROPPED, "DROP FUNCTION makes()")
    done = site.restore(entry, _ACC, with_safety=True)
    assert site.rows("SELECT to_regclass('half')::text, to_regclass('of_half')::text") == [
        (None, None)
    ]
    assert "view public.half went with it and cannot be put back" in _warnings(done)
    assert "view public.of_half went with it and cannot be put back" in _warnings(done)
    assert _undo(site, done).dropped == ("public.acc",)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reads", ["note", "m", "kept", "lonely"])
def test_an_undo_locks_everything_in_short_attempts(
    any_server: Server, make_site: MakeSite, reads: str
) -> None:
    """A session that reads what gets a rule or policy dropped, or a view, is named in a second."""
    site = make_site(
        any_server,
        "CREATE TABLE acc (id int); CREATE TABLE note (n int); CREATE TABLE kept (n int);"
        " CREATE RULE twice AS ON INSERT TO note DO ALSO DELETE FROM acc;"
        " CREATE POLICY mine ON kept USING (n IN (SELECT id FROM acc));"
        " CREATE MATERIALIZED VIEW m AS SELECT id FROM acc;"
        " CREATE FUNCTION rows_of() RETURNS SETOF acc LANGUAGE sql AS 'SELECT * FROM public.acc';"
        " CREATE VIEW lonely AS SELECT id FROM rows_of()",
    )
    entry = site.back_up()
    site.run(_DROPPED)
    gone = _schema_of(site)
    done = site.restore(entry, _ACC, with_safety=True)
    with psycopg.connect(site.database.owner_url) as other:
        other.execute(f"EXPLAIN SELECT FROM {reads}".encode())
        with pytest.raises(Failed, match=f"not be locked within 1 s; in the way: .* on .*{reads}"):
            _undo(site, done, lock_seconds=1.0)
    _undo(site, done)
    assert _schema_of(site) == gone


def test_the_ddl_is_read_before_the_locks(any_server: Server, make_site: MakeSite) -> None:
    """Nothing of it is read while the application waits: it may be gone by then."""
    site = make_site(any_server, "CREATE TABLE acc (id int); INSERT INTO acc VALUES (1)")
    entry = site.back_up()
    site.run(_DROPPED)

    def report(message: str) -> None:
        if message == "locking the tables":
            for section in entry.ddl:
                site.store.delete([section.key])

    site.restore(entry, _ACC, with_safety=True, report=report)
    assert site.rows("SELECT id FROM acc") == [(1,)]
