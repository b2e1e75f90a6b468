"""Tables that were dropped, also with CASCADE: created again, filled, proved, and taken back."""

import random
from collections.abc import Sequence

import psycopg
import pytest

from backup_pipelines.errors import Failed, NotFound, Refused
from backup_pipelines.restore import LiveRestored
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.undo import last_safety_backup
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import SOAK_SEED, MakeSite, Site
from backup_pipelines_tests.restore.interruptions import (
    killed_process,
    nothing_of_ours_is_left,
    stop,
    stop_after_each_step,
    wait_until_gone,
)
from backup_pipelines_tests.test_awkward_schema import dumped, major_of

_SCHEMA = """
CREATE TABLE acc (id serial PRIMARY KEY, code text UNIQUE, up int REFERENCES acc,
    size int CHECK (size > 0) DEFAULT 1, twice int GENERATED ALWAYS AS (size * 2) STORED);
COMMENT ON TABLE acc IS 'it''s; a comment'; COMMENT ON COLUMN acc.code IS 'code';
CREATE TABLE "Con;tact" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "a cc" int REFERENCES acc ON DELETE CASCADE);
COMMENT ON CONSTRAINT "Con;tact_a cc_fkey" ON "Con;tact" IS 'the key';
CREATE TABLE note (n int);
CREATE INDEX "expr;idx" ON acc (lower(code)) WHERE code <> ';';
CREATE STATISTICS st (ndistinct) ON code, up FROM acc;
CREATE VIEW v AS SELECT id, code FROM acc;
CREATE VIEW vv AS SELECT code FROM v;
CREATE FUNCTION of_acc(n int, "a b" text DEFAULT ';') RETURNS SETOF acc LANGUAGE sql STABLE
    AS 'SELECT * FROM public.acc WHERE id < n';
REVOKE ALL ON FUNCTION of_acc FROM PUBLIC; COMMENT ON FUNCTION of_acc IS 'rows';
CREATE VIEW by_function AS SELECT id FROM of_acc(5);
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM vv;
CREATE UNIQUE INDEX ON m (n);
ALTER TABLE "Con;tact" ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON "Con;tact" USING ("a cc" IN (SELECT id FROM v));
COMMENT ON POLICY mine ON "Con;tact" IS 'mine';
CREATE POLICY all_of_it ON "Con;tact" USING (true);
CREATE RULE twice AS ON INSERT TO note DO ALSO UPDATE acc SET size = 2 WHERE id = 1;
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'fired'; END$$;
CREATE TRIGGER t_on BEFORE INSERT ON acc FOR EACH ROW EXECUTE FUNCTION fails();
CREATE TRIGGER t_off AFTER DELETE ON acc FOR EACH STATEMENT EXECUTE FUNCTION fails();
ALTER TABLE acc DISABLE TRIGGER t_on, DISABLE TRIGGER t_off;
INSERT INTO acc (code, up, size) SELECT 'c' || g, nullif(g / 2, 0), g
    FROM generate_series(1, 60) g;
ALTER TABLE acc ENABLE ALWAYS TRIGGER t_on;
ALTER TABLE acc ENABLE ROW LEVEL SECURITY; ALTER TABLE acc FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON acc USING (id < 3);
ALTER TABLE acc REPLICA IDENTITY FULL;
INSERT INTO "Con;tact" ("a cc") SELECT 1 + g % 60 FROM generate_series(1, 200) g;
REFRESH MATERIALIZED VIEW m;
"""

_DROPPED = "DROP TABLE IF EXISTS acc CASCADE"
_ACC = Selection(tables=("acc",))


def _schema_of(site: Site) -> list[str]:
    return dumped(site.database.admin_url, major_of(site.database))


def _differences(before: list[str], after: list[str]) -> list[str]:
    """Objects that only one of two dumps has."""
    lost = [f"lost: {one}" for one in before if one not in after]
    return lost + [f"new: {one}" for one in after if one not in before]


def _undo(site: Site, done: LiveRestored) -> LiveRestored:
    entry = last_safety_backup(site.store, site.system.system)
    return site.restore(entry, with_safety=True, takes_back=done.made)


def test_a_dropped_table_comes_back_with_all_that_went_with_it(
    any_server: Server, make_site: MakeSite
) -> None:
    """By pg_dump and by PostgreSQL's copy everything is as before; undone, gone; redone, back."""
    site = make_site(any_server, _SCHEMA)
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    site.run(_DROPPED)
    gone, gone_schema = site.image(), _schema_of(site)
    assert len(schema) - len(gone_schema) > 20

    plan = site.plan(entry, _ACC)
    [table] = plan.tables
    assert (table.creates, table.insert, table.refused) == (True, 60, ())
    assert plan.created == ("public.acc",)
    for made in (
        "table public.acc",
        "index public.expr;idx",
        "foreign key public.Con;tact Con;tact_a cc_fkey",
        "materialized view public.m",
        "policy public.Con;tact mine",
        "rule public.note twice",
        "trigger public.acc t_off",
    ):
        assert made in plan.objects
    assert (site.image(), _schema_of(site)) == (gone, gone_schema)

    done = site.restore(entry, _ACC, with_safety=True, plan_hash=plan.hash)
    assert _differences(schema, _schema_of(site)) == []
    assert site.image() == whole
    assert site.rows("SELECT n FROM m") == [(60,)]
    assert done.verified == 1
    assert done.safety is not None
    assert done.safety.tables == ()
    undone = _undo(site, done)
    assert undone.dropped == ("public.acc",)
    assert (site.image(), _schema_of(site)) == (gone, gone_schema)
    _undo(site, undone)
    assert (site.image(), _schema_of(site)) == (whole, schema)
    nothing_of_ours_is_left(site)


def test_other_tables_are_restored_with_it(any_server: Server, make_site: MakeSite) -> None:
    """Rows of tables that exist and tables that do not come back in one transaction, and go."""
    site = make_site(any_server, _SCHEMA)
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    site.run(
        _DROPPED,
        'DROP TABLE note; DELETE FROM "Con;tact" WHERE id < 9',
        'INSERT INTO "Con;tact" ("a cc") VALUES (999), (NULL)',
    )
    gone = site.image()
    plan = site.plan(entry)
    assert plan.created == ("public.acc", "public.note")
    assert plan.refused == ()
    done = site.restore(entry, with_safety=True)
    assert (site.image(), _schema_of(site)) == (whole, schema)
    _undo(site, done)
    assert site.image() == gone

    site.run('DELETE FROM "Con;tact" WHERE "a cc" = 999')
    site.restore(entry, mode="upsert")
    assert site.digests()["public.acc"] == whole.digests["public.acc"]
    assert site.rows('SELECT count(*) FROM "Con;tact" WHERE "a cc" IS NULL') == [(1,)]
    assert _schema_of(site) == schema


def test_rows_without_parents_are_counted_in_the_plan(
    any_server: Server, make_site: MakeSite
) -> None:
    """Rows made since that reference rows nobody has refuse the restore, which says what to add."""
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run_as_admin(
        "ALTER TABLE acc DISABLE TRIGGER t_on; INSERT INTO acc (id) VALUES (999);"
        ' INSERT INTO "Con;tact" ("a cc") VALUES (999), (999)',
        _DROPPED,
    )
    before = site.image()
    plan = site.plan(entry, _ACC)
    assert plan.closure == ("public.Con;tact",)
    assert any("2 rows of public.Con;tact reference" in text for text in plan.refused)
    for mode in ("replace", "upsert"):
        with pytest.raises(Refused, match=r"2 rows of public\.Con;tact reference"):
            site.restore(entry, _ACC, mode)
    with pytest.raises(Refused, match=r"2 rows of public\.Con;tact reference"):
        site.restore(entry, mode="upsert")
    assert site.image() == before
    site.restore(entry, Selection(tables=("acc", "Con;tact")))
    assert site.image() == whole


def test_tables_that_reference_each_other_come_back_together(
    any_server: Server, make_site: MakeSite
) -> None:
    """One of two dropped tables alone is refused by the name of the other; both are fine."""
    site = make_site(any_server, _SCHEMA)
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    site.run('DROP TABLE acc, "Con;tact" CASCADE')
    plan = site.plan(entry, Selection(tables=("Con;tact",)))
    assert plan.closure == ("public.acc",)
    assert any("which does not exist any more: restore both" in text for text in plan.refused)
    [table] = site.plan(entry, _ACC).tables
    assert any("public.Con;tact does not exist any more, either" in w for w in table.warnings)
    site.restore(entry, Selection(tables=("acc", "Con;tact")))
    assert (site.image(), _schema_of(site)) == (whole, schema)


_PARTITIONED = """
CREATE TABLE boss (id int PRIMARY KEY);
CREATE TABLE t (id int, r int, n int REFERENCES boss, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1) PARTITION BY RANGE (id);
CREATE TABLE t1a PARTITION OF t1 FOR VALUES FROM (0) TO (10);
CREATE TABLE t1b PARTITION OF t1 DEFAULT;
CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
CREATE TABLE trest PARTITION OF t DEFAULT;
CREATE TABLE to_t (id int, r int, FOREIGN KEY (id, r) REFERENCES t ON DELETE CASCADE);
CREATE INDEX by_n ON t (n); CREATE INDEX only_here ON t2 (n);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER each BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE t2 DISABLE TRIGGER each;
INSERT INTO boss SELECT generate_series(1, 40);
INSERT INTO t SELECT g, 1 + g % 3, g FROM generate_series(1, 40) g;
INSERT INTO to_t SELECT id, r FROM t;
"""


@pytest.mark.parametrize("name", ["t", "t1", "t1a", "t1b", "t2", "trest"])
def test_partitions_and_partitioned_tables_come_back(
    any_server: Server, make_site: MakeSite, name: str
) -> None:
    """A part of a tree of partitions is made and attached again, and taken back."""
    site = make_site(any_server, _PARTITIONED)
    entry, whole, schema = site.back_up(), site.image(), _schema_of(site)
    # PostgreSQL drops no partition that rows reference.
    site.run("DELETE FROM to_t", f"DROP TABLE {name} CASCADE")
    gone, gone_schema = site.image(), _schema_of(site)
    selected = Selection(tables=("t", "to_t"))
    if name != "t":
        with pytest.raises(Refused, match=r"it is a partition of public\.t: select that"):
            site.restore(entry, Selection(tables=(name,)))
    done = site.restore(entry, selected, with_safety=True)
    assert _differences(schema, _schema_of(site)) == []
    assert site.digests() == whole.digests
    _undo(site, done)
    assert _differences(gone_schema, _schema_of(site)) == []
    assert site.image() == gone


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["CREATE VIEW acc AS SELECT 1 AS id"], r"there is a view of that name now"),
        (["CREATE SEQUENCE acc_id_seq"], r".*acc_id_seq.* already exists"),
        (["CREATE TABLE x (id int CONSTRAINT acc_pkey PRIMARY KEY)"],
         r".*acc_pkey.* already exists"),
        (["DROP FUNCTION fails()"], r".*fails\(\) does not exist"),
    ],
)  # fmt: skip
def test_what_stands_against_a_table_is_in_the_plan(
    any_server: Server, make_site: MakeSite, statements: Sequence[str], reason: str
) -> None:
    """Names that are taken and things that are missing are found by trying, before anything."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED, *statements)
    before = site.image()
    plan = site.plan(entry, _ACC)
    assert (plan.created, len(plan.refused)) == ((), 1)
    with pytest.raises(
        Refused, match="public.acc does not exist any more and cannot be created: " + reason
    ):
        site.restore(entry, _ACC, with_safety=True)
    assert site.image() == before


def test_the_right_to_create_is_asked_for_by_name(any_server: Server, make_site: MakeSite) -> None:
    """A schema that is gone, and one where this role may create nothing: the statement to run."""
    site = make_site(any_server, 'CREATE SCHEMA "o\'dd"; CREATE TABLE "o\'dd".t (id int)')
    owner = f"{site.database.name}_owner"
    entry = site.back_up()
    site.run('DROP TABLE "o\'dd".t')
    site.run_as_admin('ALTER SCHEMA "o\'dd" OWNER TO postgres')
    with pytest.raises(Refused, match=f'GRANT USAGE, CREATE ON SCHEMA "o\'dd" TO "{owner}";'):
        site.restore(entry)
    site.run_as_admin(f'GRANT USAGE, CREATE ON SCHEMA "o\'dd" TO "{owner}"')
    site.restore(entry)
    site.run_as_admin('DROP SCHEMA "o\'dd" CASCADE')
    with pytest.raises(Refused, match=f'CREATE SCHEMA "o\'dd" AUTHORIZATION "{owner}";'):
        site.restore(entry)


def test_one_record_of_a_dropped_table_is_refused(any_server: Server, make_site: MakeSite) -> None:
    """The whole table has to come first; a table that no backup has is not found."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED)
    with pytest.raises(Refused, match="does not exist any more and cannot be created: restore the"):
        site.restore(entry, Selection(tables=("acc",), key="3"))
    with pytest.raises(NotFound):
        site.restore(entry, Selection(tables=("nowhere",)))


def test_default_privileges_give_nobody_more_than_the_backup(
    any_server: Server, make_site: MakeSite
) -> None:
    """Who may read every new table may not read one that was kept from them."""
    site = make_site(any_server)
    reader = f"{site.database.name}_reader"
    site.run(
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, {reader};"
        f" ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {reader};"
        f" CREATE TABLE secret (id serial); REVOKE ALL ON secret FROM PUBLIC, {reader};"
        f" REVOKE ALL ON secret_id_seq FROM {reader}; CREATE VIEW v AS SELECT * FROM secret;"
        " REVOKE ALL ON v FROM PUBLIC; CREATE TABLE known (id int)"
    )
    entry, schema = site.back_up(), _schema_of(site)
    site.run("DROP TABLE secret, known CASCADE")
    site.restore(entry)
    assert _schema_of(site) == schema
    assert site.rows(f"SELECT has_table_privilege('{reader}', 'known', 'DELETE')") == [(True,)]
    assert (
        site.rows("SELECT relacl::text FROM pg_class WHERE relname = 'secret'")[0][0].count("=")
        == 1
    )


def test_what_cannot_come_back_is_said(any_server: Server, make_site: MakeSite) -> None:
    """Views, casts, columns of the table's own type, keys and policies of others' tables."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
        " CREATE FUNCTION makes() RETURNS text LANGUAGE sql AS 'SELECT 1';"
        " CREATE CAST (t AS text) WITH INOUT;"
        " CREATE TABLE u (x t, y int); INSERT INTO u VALUES (ROW(1), 2);"
        " CREATE TABLE other (t int REFERENCES t);"
        " CREATE POLICY p ON other USING (t IN (SELECT id FROM t));"
        " CREATE VIEW needs AS SELECT id, makes() FROM t;",
    )
    entry = site.back_up()
    site.run("DROP TABLE t CASCADE; DROP FUNCTION makes()")
    site.run_as_admin("ALTER TABLE other OWNER TO postgres")
    done = site.restore(entry, Selection(tables=("t",)))
    [table] = done.plan.tables
    warnings = "\n".join(table.warnings)
    assert "column public.u.x (public.t) went with it and is not put back" in warnings
    assert "view public.needs went with it and cannot be put back" in warnings
    assert "cast CAST (public.t AS text) may have gone with it, too" in warnings
    assert "policy p of public.other went with it" in warnings
    assert "foreign key other_t_fkey of public.other went with it and is not put back" in warnings
    assert "ALTER TABLE ONLY public.other\n    ADD CONSTRAINT other_t_fkey" in warnings
    assert site.rows("SELECT id FROM t") == [(1,)]


_NOT_AS_LEFT = [
    (["ALTER TABLE acc DISABLE TRIGGER t_on, NO FORCE ROW LEVEL SECURITY;"
      " INSERT INTO acc (code) VALUES ('new')"],
     r"table public.acc has 61 rows .* are not thrown away"),
    (["ALTER TABLE acc ADD more int"], r"table public.acc has 60 rows .* columns were changed"),
    (["CREATE VIEW later AS SELECT * FROM acc"],
     r"view public.later depends on table public.acc; drop"),
    (["CREATE TABLE later (a int REFERENCES acc)"],
     r"later_a_fkey on table public.later depends on"),
    (["CREATE OR REPLACE VIEW vv AS SELECT code FROM v WHERE id > 5"],
     r"view public.vv was changed since"),
    (["DROP TABLE acc CASCADE", "CREATE TABLE acc AS SELECT 1 AS id"],
     r"table public.acc is not the one that the restore created"),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "reason"), _NOT_AS_LEFT)
def test_an_undo_drops_only_what_is_as_the_restore_left_it(
    any_server: Server, make_site: MakeSite, statements: Sequence[str], reason: str
) -> None:
    """Rows, columns, views, keys made since, another table of the name: refused, and all stays."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED)
    done = site.restore(entry, _ACC, with_safety=True)
    site.run(*statements)
    before = site.image()
    with pytest.raises(Refused, match=reason):
        _undo(site, done)
    assert site.image() == before


def test_an_undo_drops_no_partition_that_was_made_since(
    any_server: Server, make_site: MakeSite
) -> None:
    """It would go with its table."""
    site = make_site(any_server, _PARTITIONED)
    entry = site.back_up()
    site.run("DROP TABLE t CASCADE")
    done = site.restore(entry, Selection(tables=("t",)), with_safety=True)
    site.run("CREATE TABLE t9 PARTITION OF t FOR VALUES IN (9)")
    with pytest.raises(Refused, match=r"public\.t9 with it, a partition that was made since"):
        _undo(site, done)
    assert site.rows("SELECT count(*) FROM t") == [(40,)]


def test_a_restore_of_a_safety_backup_drops_nothing(
    any_server: Server, make_site: MakeSite
) -> None:
    """Only an undo knows what a restore created; a restore of its backup leaves every table."""
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(_DROPPED)
    site.restore(entry, Selection(tables=("acc", "note")), with_safety=True)
    site.undo()
    assert site.image() == whole


def test_an_undo_after_the_created_table_is_gone(any_server: Server, make_site: MakeSite) -> None:
    """What somebody dropped again needs no dropping; the rest is as before."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED, "INSERT INTO note VALUES (1)")
    gone = site.image()
    done = site.restore(entry, Selection(tables=("acc", "note")), with_safety=True)
    site.run(_DROPPED)
    undone = _undo(site, done)
    assert (undone.dropped, site.image()) == ((), gone)


def test_a_stop_at_any_step_creates_nothing(any_server: Server, make_site: MakeSite) -> None:
    """An error after each step leaves the database without the table, and as it was."""
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(_DROPPED)
    stop_after_each_step(site, entry, _ACC, stop)
    assert site.image() == whole


@pytest.mark.parametrize(
    ("moments", "seed"),
    [(3, 5), pytest.param(40, SOAK_SEED, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))],
)
def test_a_kill_leaves_all_or_nothing(
    any_server: Server, make_site: MakeSite, moments: int, seed: int
) -> None:
    """kill -9 at random moments: the table is there with everything, or not at all."""
    chance = random.Random(seed)
    site = make_site(any_server, _SCHEMA)
    entry, whole = site.back_up(), site.image()
    site.run(_DROPPED)
    before = site.image()
    took = killed_process(site, entry, 60).seconds
    assert site.image() == whole
    found: list[bool] = []
    for number in range(moments):
        site.run(_DROPPED)
        killed_process(site, entry, took * (number + chance.random()) / moments)
        wait_until_gone(site)
        now = site.image()
        assert now in (before, whole)
        nothing_of_ours_is_left(site)
        found.append(now == before)
    assert any(found)


def test_the_database_may_change_between_plan_and_restore(
    any_server: Server, make_site: MakeSite
) -> None:
    """A table that somebody made meanwhile has another plan, and the old one's hash is refused."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED)
    plan = site.plan(entry, _ACC)
    site.run("CREATE TABLE acc (id int, code text, up int, size int, twice int)")
    with pytest.raises(Refused, match=f"not {plan.hash}: the live data has changed"):
        site.restore(entry, _ACC, plan_hash=plan.hash)
    assert site.plan(entry, _ACC).created == ()


def test_a_session_in_the_way_is_named(any_server: Server, make_site: MakeSite) -> None:
    """The table that gets its key back is locked in short attempts, like the selected ones."""
    site = make_site(any_server, _SCHEMA)
    entry = site.back_up()
    site.run(_DROPPED)
    with psycopg.connect(site.database.owner_url) as other:
        other.execute('INSERT INTO "Con;tact" DEFAULT VALUES')
        with pytest.raises(Failed, match="could not be locked within 1 s"):
            site.restore(entry, _ACC, lock_seconds=1.0)
