"""Triggers, rules, row-level security and event triggers: silent, then exactly as before."""

from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite

_AUDIT = """
CREATE TABLE seen (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN coalesce(NEW, OLD); END$$;
"""


def test_user_triggers_do_not_fire_and_keep_their_states(
    any_server: Server, make_site: MakeSite
) -> None:
    """Ordinary, disabled, replica and always triggers are silent and put back one by one."""
    site = make_site(
        any_server,
        _AUDIT,
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, g FROM"
        " generate_series(1, 9) g;"
        + "".join(
            f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OR DELETE ON t"
            " FOR EACH ROW EXECUTE FUNCTION note();"
            for name in ("origin", "off", "replica", "always")
        )
        + "ALTER TABLE t DISABLE TRIGGER off; ALTER TABLE t ENABLE REPLICA TRIGGER replica;"
        " ALTER TABLE t ENABLE ALWAYS TRIGGER always;"
        " CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION note();",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM t WHERE id < 4", "UPDATE t SET n = 0 WHERE id = 5")
    site.run("INSERT INTO t VALUES (10, 10)", "DELETE FROM seen")
    site.restore(entry)
    assert site.image() == before
    states = site.rows(
        "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 't'::regclass"
        " AND NOT tgisinternal ORDER BY 1"
    )
    assert states == [
        ("always", "A"), ("late", "O"), ("off", "D"), ("origin", "O"), ("replica", "R"),
    ]  # fmt: skip


def test_trigger_states_of_partitions_are_kept(any_server: Server, make_site: MakeSite) -> None:
    """A trigger that is off on one partition only stays off there and on elsewhere."""
    site = make_site(
        any_server,
        _AUDIT,
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        " CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);"
        " INSERT INTO t SELECT generate_series(1, 19);"
        " CREATE TRIGGER x AFTER INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();"
        " ALTER TABLE t2 DISABLE TRIGGER x; ALTER TABLE t1 ENABLE ALWAYS TRIGGER x",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM t WHERE id IN (3, 13)", "DELETE FROM seen")
    site.restore(entry)
    assert site.image() == before
    assert site.rows(
        "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger WHERE tgname = 'x' ORDER BY 1"
    ) == [("t", "O"), ("t1", "A"), ("t2", "D")]


def test_rules_do_not_swallow_rows(any_server: Server, make_site: MakeSite) -> None:
    """A rule that turns INSERTs and DELETEs into nothing is off meanwhile, then on again."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
    )
    entry = site.back_up()
    site.run("DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (10)")
    site.run(
        "CREATE RULE no_insert AS ON INSERT TO t DO INSTEAD NOTHING;"
        " CREATE RULE no_delete AS ON DELETE TO t DO INSTEAD NOTHING;"
        " CREATE RULE off AS ON UPDATE TO t DO INSTEAD NOTHING; ALTER TABLE t DISABLE RULE off;"
        " ALTER TABLE t ENABLE ALWAYS RULE no_delete"
    )
    constraints = site.image().constraints
    plan = site.plan(entry)
    warned = [text for table in plan.tables for text in table.warnings]
    assert warned == [
        "rule no_delete does not act during the restore",
        "rule no_insert does not act during the restore",
    ]
    site.restore(entry)
    assert site.rows("SELECT min(id), max(id), count(*) FROM t") == [(1, 9, 9)]
    assert site.image().constraints == constraints


def test_forced_row_level_security_hides_nothing_from_a_restore(
    any_server: Server, make_site: MakeSite
) -> None:
    """Rows that policies hide from the owner himself are compared, restored and proved."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY, who text); INSERT INTO t SELECT g, 'x'"
        " FROM generate_series(1, 50) g; CREATE TABLE k (v text); INSERT INTO k VALUES ('a');"
        " ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;"
        " CREATE POLICY none ON t USING (false);"
        " ALTER TABLE k ENABLE ROW LEVEL SECURITY; ALTER TABLE k FORCE ROW LEVEL SECURITY",
    )
    entry, before = site.back_up(), site.image()
    site.run_as_admin("DELETE FROM t WHERE id > 40; UPDATE t SET who = 'y' WHERE id = 1")
    site.run_as_admin("DELETE FROM k")
    changed = site.image()
    assert site.counts(site.plan(entry)) == {"t": (10, 1, 0), "k": (1, 0, 0)}
    assert site.image() == changed
    site.restore(entry, with_safety=True)
    assert site.image() == before
    site.undo()
    assert site.image() == changed


def test_event_triggers_may_watch(any_server: Server, make_site: MakeSite) -> None:
    """Event triggers, which no owner can disable, fire on our ALTERs and do no harm."""
    site = make_site(
        any_server,
        _AUDIT,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p);"
        " INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1)",
        "CREATE TRIGGER x AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION note()",
    )
    site.run_as_admin(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE NOTICE '%', tg_tag; END$$;"
        " CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()"
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM p WHERE id = 2", "INSERT INTO p VALUES (3)", "DELETE FROM seen")
    site.restore(entry)
    assert site.image() == before
