"""Tables of every kind: generated and identity columns, without key or columns, partitioned."""

import pytest

from backup_pipelines.errors import Failed
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite


def test_generated_columns_are_computed_and_compared(
    any_server: Server, make_site: MakeSite
) -> None:
    """Generated columns are left out of the writing and equal afterwards."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);"
        " INSERT INTO t SELECT g, g FROM generate_series(1, 9) g",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM t WHERE id = 2", "UPDATE t SET a = 0 WHERE id = 3")
    assert site.counts(site.plan(entry)) == {"t": (1, 1, 0)}
    site.restore(entry)
    assert site.image() == before


@pytest.mark.parametrize("kind", ["ALWAYS", "BY DEFAULT"])
def test_identity_columns_keep_their_values(
    any_server: Server, make_site: MakeSite, kind: str
) -> None:
    """Identity values come back, as the key and as another column, and the kind stays."""
    site = make_site(
        any_server,
        f"CREATE TABLE k (id int GENERATED {kind} AS IDENTITY PRIMARY KEY, n int);"
        f" CREATE TABLE o (id int PRIMARY KEY, n int GENERATED {kind} AS IDENTITY, x int);"
        " INSERT INTO k (n) SELECT g FROM generate_series(1, 9) g;"
        " INSERT INTO o (id) SELECT g FROM generate_series(1, 9) g",
    )
    entry, before = site.back_up(), site.image()
    site.run(
        "DELETE FROM k WHERE id < 3",
        "UPDATE k SET n = 0 WHERE id = 5",
        "UPDATE o SET n = DEFAULT WHERE id IN (2, 3)",
        "UPDATE o SET x = 1 WHERE id IN (4, 5)",
        "DELETE FROM o WHERE id = 6",
    )
    site.restore(entry)
    assert site.image() == before


def test_sequences_move_with_the_restore(any_server: Server, make_site: MakeSite) -> None:
    """Sequences return to the backup, roll back with a failure, and never go back in an upsert."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id serial PRIMARY KEY, n int CHECK (n < 100));"
        " CREATE TABLE u (id bigserial PRIMARY KEY); CREATE SEQUENCE own; CREATE SEQUENCE used;"
        " CREATE TABLE v (id int PRIMARY KEY DEFAULT nextval('used'));"
        " INSERT INTO t (n) SELECT g FROM generate_series(1, 9) g; INSERT INTO u DEFAULT VALUES;"
        " INSERT INTO v DEFAULT VALUES; SELECT nextval('own')",
    )
    entry, before = site.back_up(), site.image()
    more = "INSERT INTO {} DEFAULT VALUES"
    site.run(*(more.format(name) for name in "ttuuvv"), "SELECT nextval('own')")
    changed = site.image()

    site.restore(entry, mode="upsert", with_safety=True)
    assert site.image() == changed
    site.restore(entry, Selection(tables=("t", "v")), with_safety=True)
    positions = site.image().sequences
    moved = {name for name in positions if positions[name] != changed.sequences[name]}
    assert moved == {"public.t_id_seq", "public.used"}
    assert {positions[name] for name in moved} == {before.sequences[name] for name in moved}
    site.undo()
    assert site.image() == changed
    site.restore(entry, with_safety=True)
    assert site.image() == before

    site.run(
        "DELETE FROM t WHERE id = 1", more.format("t"), "ALTER TABLE t ADD CHECK (n > 1) NOT VALID"
    )
    changed = site.image()
    with pytest.raises(Failed, match=r"public\.t cannot be restored.*t_n_check1"):
        site.restore(entry, with_safety=True)
    assert site.image() == changed


def test_unique_values_may_swap(any_server: Server, make_site: MakeSite) -> None:
    """Rows that exchanged their unique values, or excluded ranges, get their own back."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, span int4range, n int,"
        " EXCLUDE USING gist (span WITH &&)); CREATE UNIQUE INDEX ON t (lower(code)) WHERE n > 0;"
        " CREATE TABLE c (t int REFERENCES t (id), code text REFERENCES t (code));"
        " INSERT INTO t SELECT g, 'c' || g, int4range(g, g + 1), g FROM generate_series(1, 20) g;"
        " INSERT INTO c SELECT g, 'c' || g FROM generate_series(1, 20) g",
    )
    entry, before = site.back_up(), site.image()
    site.run(
        "DELETE FROM c",
        "UPDATE t SET code = 'z' || id, span = NULL",
        "UPDATE t SET code = 'c' || (21 - id), span = int4range(21 - id, 22 - id)",
    )
    assert site.counts(site.plan(entry))["t"] == (0, 20, 0)
    site.restore(entry)
    assert site.image() == before


def test_a_deferrable_primary_key_is_restored(any_server: Server, make_site: MakeSite) -> None:
    """Keys that had changed places while their checks were deferred return to their rows."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int);"
        " INSERT INTO t SELECT g, g FROM generate_series(1, 9) g",
    )
    entry, before = site.back_up(), site.image()
    site.run("UPDATE t SET id = 10 - id", "DELETE FROM t WHERE id = 7")
    site.restore(entry)
    assert site.image() == before
    site.run("DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (11, 1)")
    site.restore(entry, mode="upsert")
    assert site.rows("SELECT count(*) FROM t") == [(10,)]


def test_tables_without_key_are_multisets(any_server: Server, make_site: MakeSite) -> None:
    """Of equal rows as many come back as there were; rows without columns are counted."""
    site = make_site(
        any_server,
        "CREATE TABLE m (a int, b numeric, c json, d point); CREATE TABLE z ();"
        " INSERT INTO m SELECT g % 3, 1.50, '{\"a\":  1}', '(1,2)' FROM generate_series(1, 30) g;"
        " INSERT INTO m VALUES (NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL);"
        " INSERT INTO z SELECT FROM generate_series(1, 7)",
    )
    entry, before = site.back_up(), site.image()
    site.run(
        "DELETE FROM m WHERE ctid IN (SELECT ctid FROM m WHERE a = 1 LIMIT 4)",
        "DELETE FROM m WHERE ctid IN (SELECT ctid FROM m WHERE a IS NULL LIMIT 1)",
        "INSERT INTO m VALUES (2, 1.50, '{\"a\":  1}', '(1,2)')",
        "UPDATE m SET b = 1.5 WHERE ctid = (SELECT ctid FROM m WHERE a = 0 LIMIT 1)",
        "INSERT INTO z SELECT FROM generate_series(1, 2)",
    )
    assert site.counts(site.plan(entry)) == {"m": (6, 0, 2), "z": (0, 0, 2)}
    site.restore(entry)
    assert site.image() == before
    site.run("DELETE FROM z")
    site.restore(entry)
    assert site.image() == before


def test_partitioned_tables_lose_what_new_partitions_hold(
    any_server: Server, make_site: MakeSite
) -> None:
    """Rows that moved between partitions move back; a partition made since loses its rows."""
    site = make_site(
        any_server,
        "CREATE TABLE t (id int, r int, n int, PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
        " CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1) PARTITION BY RANGE (id);"
        " CREATE TABLE t1a PARTITION OF t1 FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE t1b PARTITION OF t1 DEFAULT;"
        " CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);"
        " INSERT INTO t SELECT g, 1 + g % 2, g FROM generate_series(1, 40) g",
    )
    entry, before = site.back_up(), site.digests()
    site.run(
        "CREATE TABLE t3 PARTITION OF t FOR VALUES IN (3)",
        "UPDATE t SET r = 3 WHERE id < 5",
        "UPDATE t SET r = 3 - r WHERE id BETWEEN 6 AND 9",
        "INSERT INTO t VALUES (100, 3, 1)",
    )
    changed = site.image()
    site.restore(entry, Selection(tables=("t",)), with_safety=True)
    assert site.digests() == before | {"public.t3": (0, "0" * 16)}
    site.undo()
    assert site.image() == changed


def test_inherited_tables_are_restored_each_for_itself(
    any_server: Server, make_site: MakeSite
) -> None:
    """Rows of a child are not taken for its parent's."""
    site = make_site(
        any_server,
        "CREATE TABLE base (id int PRIMARY KEY, n text);"
        " CREATE TABLE child (x int, PRIMARY KEY (id)) INHERITS (base);"
        " INSERT INTO base SELECT g, 'b' FROM generate_series(1, 9) g;"
        " INSERT INTO child SELECT g, 'c', g FROM generate_series(1, 9) g",
    )
    entry, before = site.back_up(), site.image()
    site.run("DELETE FROM ONLY base WHERE id = 1", "UPDATE child SET n = 'z' WHERE id = 2")
    site.run("INSERT INTO child VALUES (50, 'd', 1)")
    changed = site.image()
    site.restore(entry, with_safety=True)
    assert site.image() == before
    site.undo()
    assert site.image() == changed


def test_types_outside_pg_catalog_can_be_keys(any_server: Server, make_site: MakeSite) -> None:
    """Keys of an enum, a domain or an array are compared by their own operators."""
    site = make_site(
        any_server,
        "CREATE TYPE color AS ENUM ('red', 'green'); CREATE DOMAIN short AS varchar(9);"
        " CREATE TABLE e (c color PRIMARY KEY, n float8); CREATE TABLE d (c short PRIMARY KEY,"
        ' n numeric); CREATE TABLE a (c int[] PRIMARY KEY, n text COLLATE "C");'
        " INSERT INTO e VALUES ('red', 0.0), ('green', 1); INSERT INTO d VALUES ('a', 1.0);"
        " INSERT INTO a VALUES ('{1,2}', ''), ('[2:3]={1,2}', NULL)",
    )
    entry, before = site.back_up(), site.image()
    site.run("UPDATE e SET n = '-0' WHERE c = 'red'", "UPDATE d SET n = 1.00", "DELETE FROM a")
    assert site.counts(site.plan(entry)) == {"e": (0, 1, 0), "d": (0, 1, 0), "a": (2, 0, 0)}
    site.restore(entry)
    assert site.image() == before


def test_materialized_views_are_refreshed_on_request(
    any_server: Server, make_site: MakeSite
) -> None:
    """A view on a view follows the restored rows where that was asked for, and only there."""
    site = make_site(
        any_server,
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 5);"
        " CREATE MATERIALIZED VIEW b AS SELECT count(*) AS n FROM a;"
        " CREATE MATERIALIZED VIEW aa AS SELECT n FROM b;",
    )
    entry = site.back_up()
    site.run("DELETE FROM a WHERE id > 3", "REFRESH MATERIALIZED VIEW b")
    site.run("REFRESH MATERIALIZED VIEW aa")
    site.restore(entry)
    assert site.rows("SELECT n FROM aa") == [(3,)]
    site.restore(entry, refresh_views=True)
    assert site.rows("SELECT n FROM aa") == [(5,)]
