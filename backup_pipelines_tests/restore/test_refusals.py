"""What a restore refuses, before anything is touched: drift, other plans, what does not exist."""

import pytest

from backup_pipelines.errors import Busy, Damaged, Failed, NotFound, Refused
from backup_pipelines.postgres.connection import connected
from backup_pipelines.postgres.lock import take_lock
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite

_T = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');"
    "CREATE TABLE t (id int PRIMARY KEY, name varchar(20), mood mood, n int);"
    " INSERT INTO t SELECT g, 'name ' || g, 'ok', g FROM generate_series(1, 9) g;"
    " UPDATE t SET mood = 'happy', name = 'a rather long name' WHERE id = 3;"
    " CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)"
)


@pytest.mark.parametrize(
    ("drift", "reason"),
    [
        (
            "ALTER TABLE t ALTER name TYPE varchar(10)",
            r"public\.t does not fit.*varying\(10\), and 'a rather long name' would become",
        ),
        (
            "DELETE FROM t WHERE mood = 'happy'; ALTER TABLE t ALTER mood TYPE text;"
            " DROP TYPE mood; CREATE TYPE mood AS ENUM ('sad', 'ok');"
            " ALTER TABLE t ALTER mood TYPE mood USING mood::mood",
            r"public\.t does not fit.*invalid input value for enum.*happy",
        ),
        ("ALTER TABLE t ALTER n TYPE text", r"public\.t\.n was integer and is text now"),
        ("ALTER TABLE t ADD must int NOT NULL DEFAULT 1; ALTER TABLE t ALTER must DROP DEFAULT",
         r"public\.t\.must is new, NOT NULL and without a default"),
        ("DROP TABLE t; DROP TYPE mood", r"public\.t does not exist any more .*mood.* does not"),
    ],
)  # fmt: skip
def test_drift_that_cannot_be_bridged_is_refused(
    any_server: Server, make_site: MakeSite, drift: str, reason: str
) -> None:
    """Narrower types, lost enum labels, other types: named with the value, and nothing is cut."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run("DELETE FROM other", "UPDATE t SET name = 'x'", drift)
    before = site.image()
    plan = site.plan(entry)
    assert site.counts(plan)["other"] == (1, 0, 0)
    with pytest.raises(Refused, match="(?s)" + reason):
        site.restore(entry)
    assert site.image() == before


@pytest.mark.parametrize(
    ("then", "now", "value", "fits"),
    [
        ("numeric(12,4)", "numeric(12,2)", "1.2345", "1.2300"),
        ("numeric(12,4)[]", "numeric(12,2)[]", "{1.5,1.2345}", "{1.5,NULL}"),
        ("numeric(12,2)", "numeric(4,1)", "12345.67", "12.30"),
        ("timestamp", "timestamp(0)", "2026-01-01 00:00:00.6", "2026-01-01 00:00:01"),
        ("timestamptz", "timestamptz(3)", "2026-01-01 00:00:00.0006Z", "infinity"),
        ("time", "time(0)", "12:00:00.6", "12:00:01"),
        ("interval", "interval(0)", "1.6 s", "2 days"),
        ("interval", "interval day", "2 days 03:00", "2 days"),
        ("varchar(10)", "varchar(3)", "abc  ", "abc"),
        ("varchar(10)", "varchar(3)", "abcd", "ab "),
        ("char(10)", "char(3)", "abcd", "abc"),
        ("numeric(12,2)", "numeric", None, "1.50"),
    ],
)
def test_no_value_is_rounded_or_trimmed_for_a_narrower_column(
    any_server: Server, make_site: MakeSite, then: str, now: str, value: str | None, fits: str
) -> None:
    """What PostgreSQL would change without a word is refused with the value; what fits is taken."""
    site = make_site(any_server, f"CREATE TABLE t (id int PRIMARY KEY, v {then})")
    site.run(f"INSERT INTO t VALUES (1, '{fits}'), (2, NULL)")
    fine = site.back_up()
    if value is not None:
        site.run(f"INSERT INTO t VALUES (3, '{value}')")
    whole = site.back_up()
    site.run("DELETE FROM t", f"ALTER TABLE t ALTER v TYPE {now}")
    if value is not None:
        before = site.image()
        with pytest.raises(Refused, match=r"public\.t does not fit.*(would become|overflow)"):
            site.restore(whole)
        assert site.image() == before
    site.restore(fine)
    assert site.rows(
        f"SELECT id, v IS NOT DISTINCT FROM '{fits}'::{then}::{now} FROM t ORDER BY 1"
    ) == [
        (1, True),
        (2, False),
    ]


def test_drift_that_can_be_bridged_is_adapted(any_server: Server, make_site: MakeSite) -> None:
    """New columns keep their values, lost ones stay in the backup, wider types take all."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run(
        "ALTER TABLE t ADD note text DEFAULT 'new'; UPDATE t SET note = 'kept' WHERE id = 1;"
        " ALTER TABLE t DROP mood; ALTER TABLE t ALTER n TYPE bigint;"
        " ALTER TYPE mood ADD VALUE 'great'; ALTER TABLE t ALTER name TYPE text",
        "UPDATE t SET n = 0 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (10, 'x', 1)",
    )
    plan = site.plan(entry)
    assert site.counts(plan) == {"t": (1, 1, 1)}
    warnings = "\n".join(text for table in plan.tables for text in table.warnings)
    assert "t.note is new" in warnings
    assert "t.mood is gone" in warnings
    site.restore(entry)
    assert site.rows("SELECT id, n, name, note FROM t WHERE id < 3 ORDER BY 1") == [
        (1, 1, "name 1", "kept"),
        (2, 2, "name 2", "new"),
    ]
    assert site.rows("SELECT count(*) FROM t") == [(9,)]


def test_a_column_that_must_not_be_null_any_more(any_server: Server, make_site: MakeSite) -> None:
    """NULLs of the backup in a column that is NOT NULL now are found by the plan."""
    site = make_site(any_server, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    site.run("INSERT INTO t VALUES (1, NULL)")
    entry = site.back_up()
    site.run("UPDATE t SET n = 1", "ALTER TABLE t ALTER n SET NOT NULL")
    with pytest.raises(Refused, match=r"public\.t\.n is NOT NULL now"):
        site.restore(entry)
    site.run("DELETE FROM t")
    with pytest.raises(Refused, match=r"public\.t\.n is NOT NULL now"):
        site.restore(entry)


def test_another_plan_is_refused(any_server: Server, make_site: MakeSite) -> None:
    """A plan's hash holds while the data does, and not after one more write."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run("DELETE FROM t WHERE id = 1")
    plan = site.plan(entry)
    assert plan.hash == site.plan(entry).hash != site.plan(entry, mode="upsert").hash
    site.run("UPDATE t SET n = 5 WHERE id = 2")
    with pytest.raises(Refused, match=f"not {plan.hash}: the live data has changed"):
        site.restore(entry, plan_hash=plan.hash)
    site.restore(entry, plan_hash=site.plan(entry).hash)


def test_names_that_do_not_exist_are_refused(any_server: Server, make_site: MakeSite) -> None:
    """Unknown tables and modules are named with those that there are."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    with pytest.raises(NotFound, match=r"holds no table public\.nope .*public\.other, public\.t"):
        site.plan(entry, Selection(tables=("nope",)))
    with pytest.raises(NotFound, match="holds no module nope"):
        site.restore(entry, Selection(modules=("nope",)))


def test_a_second_restore_is_busy(any_server: Server, make_site: MakeSite) -> None:
    """While somebody holds the system's lock a restore says who, and changes nothing."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run("DELETE FROM t WHERE id = 1")
    with connected(site.database.owner_url) as other:
        take_lock(other, "sample")
        with pytest.raises(Busy, match="another backup or restore of sample is running"):
            site.restore(entry)
    assert site.rows("SELECT count(*) FROM t") == [(8,)]


def test_a_table_without_key_cannot_be_upserted(any_server: Server, make_site: MakeSite) -> None:
    """Rows that nothing identifies are refused in an upsert, which names the other mode."""
    site = make_site(any_server, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (1)")
    entry = site.back_up()
    assert site.restore(entry, mode="upsert").plan.rows == 0
    site.run("DELETE FROM t")
    with pytest.raises(Refused, match=r"public\.t has no primary key.*use mode replace"):
        site.restore(entry, mode="upsert")


def test_a_new_check_that_the_backup_breaks_is_named(
    any_server: Server, make_site: MakeSite
) -> None:
    """The table, the constraint and the row are in the message, and everything is as before."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run("DELETE FROM t WHERE id > 5", "ALTER TABLE t ADD CONSTRAINT small CHECK (n < 6)")
    before = site.image()
    with pytest.raises(Failed, match=r'(?s)public\.t cannot be restored.*"small".*Failing row'):
        site.restore(entry)
    assert site.image() == before


def test_a_damaged_part_is_found_before_anything(any_server: Server, make_site: MakeSite) -> None:
    """A part with one other byte is refused by its checksum, with no safety backup taken."""
    site = make_site(any_server, _T)
    entry = site.back_up()
    site.run("DELETE FROM t WHERE id = 1")
    [part] = next(t for t in entry.tables if t.name == "t").parts
    data = bytearray(site.store.get(part.key))
    data[len(data) // 2] ^= 1
    site.store.delete([part.key])
    site.store.put_new(part.key, bytes(data))
    objects = sum(1 for _ in site.store.objects(""))
    with pytest.raises(Damaged, match="other bytes than were written"):
        site.restore(entry, with_safety=True)
    assert sum(1 for _ in site.store.objects("")) == objects


def test_nothing_selected_is_no_success(any_server: Server, make_site: MakeSite) -> None:
    """A backup without tables proves nothing, so it is not restored."""
    site = make_site(any_server)
    entry = site.back_up()
    with pytest.raises(Failed, match="nothing can be proved"):
        site.restore(entry)


@pytest.mark.parametrize(
    "instead",
    ["CREATE TYPE mood AS (a int, b text)", "CREATE TYPE mood AS RANGE (subtype = int)"],
)
def test_a_name_that_is_another_kind_of_type_now(
    any_server: Server, make_site: MakeSite, instead: str
) -> None:
    """The table is refused with the reason, as for a label that is gone, and others have a plan."""
    site = make_site(any_server, _T)
    site.run("INSERT INTO t (id, mood) SELECT g, 'ok' FROM generate_series(10, 2000) AS g")
    entry = site.back_up()
    site.run(
        "DELETE FROM other; ALTER TABLE t ALTER mood TYPE text; DROP TYPE mood",
        f"{instead}; ALTER TABLE t ALTER mood TYPE mood USING NULL",
    )
    before = site.image()
    assert site.counts(site.plan(entry))["other"] == (1, 0, 0)
    with pytest.raises(Refused, match=r"public\.t"):
        site.restore(entry)
    assert site.image() == before
