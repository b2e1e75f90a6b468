"""Upserts, which keep what was made since, and single records with what hung on them."""

import pytest

from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.restoring.selection import Selection
from backup_pipelines_tests.fix_postgres import Server
from backup_pipelines_tests.fix_restore import MakeSite

_SHOP = """
CREATE TABLE customer (id int PRIMARY KEY, name text UNIQUE, friend int REFERENCES customer);
CREATE TABLE orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), customer int NOT NULL
    REFERENCES customer ON DELETE CASCADE, n int);
CREATE TABLE line (orders uuid REFERENCES orders ON DELETE CASCADE, pos int, what text,
    PRIMARY KEY (orders, pos));
CREATE TABLE unrelated (id int PRIMARY KEY);
INSERT INTO customer SELECT g, 'c' || g FROM generate_series(1, 6) g;
UPDATE customer SET friend = 1 WHERE id = 6;
INSERT INTO orders (customer, n) SELECT 1 + g % 6, g FROM generate_series(1, 18) g;
INSERT INTO line SELECT id, g, 'x' FROM orders, generate_series(1, 2) g;
INSERT INTO unrelated VALUES (1);
"""


def test_an_upsert_keeps_rows_created_since(any_server: Server, make_site: MakeSite) -> None:
    """Every row of the backup is there and equal, and so is every row created since."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    before = site.rows("SELECT * FROM customer ORDER BY id")
    site.run(
        "DELETE FROM customer WHERE id = 2",
        "UPDATE customer SET name = 'z' WHERE id = 3",
        "INSERT INTO customer VALUES (7, 'new'), (8, 'c2')",
        "UPDATE customer SET name = 'newer' WHERE id = 8",
    )
    plan = site.plan(entry, mode="upsert")
    assert site.counts(plan) == {"customer": (1, 1, 0), "orders": (3, 0, 0), "line": (6, 0, 0)}
    site.restore(entry, mode="upsert", with_safety=True)
    assert site.rows("SELECT * FROM customer WHERE id < 7 ORDER BY id") == before
    assert site.rows("SELECT id, name FROM customer WHERE id > 6 ORDER BY id") == [
        (7, "new"),
        (8, "newer"),
    ]
    assert site.plan(entry, mode="upsert").rows == 0
    site.undo()
    assert site.rows("SELECT count(*) FROM customer") == [(7,)]


def test_one_record_comes_back_alone(any_server: Server, make_site: MakeSite) -> None:
    """Only the row with the key is written, not those that referenced it."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    site.run("DELETE FROM customer WHERE id IN (2, 3)")
    assert site.counts(site.plan(entry, Selection(tables=("customer",), key="2"))) == {
        "customer": (1, 0, 0)
    }
    site.restore(entry, Selection(tables=("customer",), key="2"))
    assert site.rows("SELECT id FROM customer ORDER BY 1") == [(1,), (2,), (4,), (5,), (6,)]
    assert site.rows("SELECT count(*) FROM orders WHERE customer = 2") == [(0,)]


def test_one_record_comes_back_with_what_hung_on_it(
    any_server: Server, make_site: MakeSite
) -> None:
    """Children and their children come back, a self reference too; other records do not."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    before = site.digests()
    site.run("DELETE FROM customer WHERE id IN (6, 1)")
    selection = Selection(tables=("customer",), key="1", with_children=True)
    plan = site.plan(entry, selection)
    assert site.counts(plan) == {"customer": (2, 0, 0), "orders": (6, 0, 0), "line": (12, 0, 0)}
    site.restore(entry, selection, plan_hash=plan.hash)
    assert site.digests() == before

    site.run("DELETE FROM customer WHERE id = 2", "UPDATE customer SET name = 'q' WHERE id = 3")
    site.restore(entry, Selection(tables=("customer",), key="2", with_children=True))
    assert site.rows("SELECT name FROM customer WHERE id = 3") == [("q",)]
    assert site.rows("SELECT count(*) FROM line") == [(36,)]


def test_a_composite_key_has_commas(any_server: Server, make_site: MakeSite) -> None:
    """The values of a key of several columns are separated by commas."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    [(order,)] = site.rows("SELECT orders::text FROM line ORDER BY 1 LIMIT 1")
    site.run(f"DELETE FROM line WHERE orders = '{order}'")
    site.restore(entry, Selection(tables=("line",), key=f"{order},2"))
    assert site.rows(f"SELECT pos FROM line WHERE orders = '{order}'") == [(2,)]


def test_wrong_keys_are_refused(any_server: Server, make_site: MakeSite) -> None:
    """A key that is not there, is of another type, has too few values or no table is explained."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    with pytest.raises(NotFound, match=r"no record 99 in public\.customer"):
        site.plan(entry, Selection(tables=("customer",), key="99"))
    with pytest.raises(Refused, match=r"'; DROP.* is no key of public\.customer"):
        site.plan(entry, Selection(tables=("customer",), key="'; DROP TABLE customer --"))
    with pytest.raises(Refused, match="give 2 values with commas between them, not 1"):
        site.plan(entry, Selection(tables=("line",), key="1"))
    with pytest.raises(Refused, match="exactly one table"):
        site.plan(entry, Selection(tables=("line", "orders"), key="1"))
    with pytest.raises(Refused, match="name its key"):
        site.plan(entry, Selection(tables=("line",), with_children=True))


def test_a_record_without_its_parent_names_the_parent(
    any_server: Server, make_site: MakeSite
) -> None:
    """A record whose parent is gone is refused and says which table the parent is in."""
    site = make_site(any_server, _SHOP)
    entry = site.back_up()
    [(order,)] = site.rows("SELECT id::text FROM orders WHERE customer = 2 LIMIT 1")
    site.run("DELETE FROM customer WHERE id = 2")
    with pytest.raises(Refused, match=r"reference rows of public\.customer that do not exist"):
        site.restore(entry, Selection(tables=("orders",), key=order))
