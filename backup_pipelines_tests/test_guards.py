"""Each guard fires and clears: over stores made by hand, and over real databases."""

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from backup_pipelines import layout, state_log, verify
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.health import guards
from backup_pipelines.health.finding import OPTIONAL
from backup_pipelines.health.health import assess
from backup_pipelines.health.live_look import look as look_at
from backup_pipelines.manifest import Part
from backup_pipelines.storage.store import Store
from backup_pipelines.system import ExcludedSpec, ModuleSpec, System
from backup_pipelines.trail import spool
from backup_pipelines.trail.audit import Happened
from backup_pipelines_tests.fix_backup import back_up
from backup_pipelines_tests.fix_postgres import Database, Server
from backup_pipelines_tests.fix_receivers import free_port
from backup_pipelines_tests.histories import (
    NOW,
    crm,
    found,
    look,
    put_backup,
    put_drill,
    put_record,
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAGSTER_HOME of the test's own: what waits there is what this test has put there."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def test_every_guard_says_unknown_or_error_of_an_empty_store(store: Store) -> None:
    """Without a backup no guard over backups is ok, and freshness is red."""
    findings = {finding.guard: finding for finding in assess(store, crm(), NOW).findings}
    assert list(findings) == [name for name in guards.GUARDS if name not in OPTIONAL]
    assert findings.pop("freshness").status == "error"
    ok = {guard for guard, finding in findings.items() if finding.status == "ok"}
    assert ok == {"storage", "prune", "audit", "identity"}
    assert {findings[guard].status for guard in findings.keys() - ok} == {"unknown"}


@pytest.mark.parametrize(
    ("schedule", "hours", "status"),
    [
        ({"every": "every_2_days"}, 49.9, "ok"),
        ({"every": "every_2_days"}, 50.1, "error"),
        ({"every": "daily"}, 26.1, "error"),
        ({"every": "cron", "cron": "0 2 * * 1-5"}, 73.9, "ok"),
        ({"every": "cron", "cron": "0 2 * * 1-5"}, 74.1, "error"),
        ({"every": "never"}, 1000, "warning"),
    ],
)
def test_freshness_goes_by_the_schedule(
    store: Store, schedule: dict[str, str], hours: float, status: str
) -> None:
    """A backup may be as old as the longest period of the schedule and two hours."""
    put_backup(store, hours)
    assert look(store, "freshness", crm(schedule=schedule)).status == status


def test_freshness_goes_by_the_recovery_point_target_where_there_is_one(store: Store) -> None:
    """recovery_point_hours wins over the schedule, and makes a missing schedule an error."""
    put_backup(store, 13)
    system = crm(schedule={"every": "never"}, guards={"recovery_point_hours": 12})
    assert look(store, "freshness", system).status == "error"
    put_backup(store, 11)
    assert look(store, "freshness", system).status == "ok"


def test_freshness_counts_neither_damaged_nor_partial_nor_future_backups(store: Store) -> None:
    """Only a good full backup of the past is fresh."""
    put_backup(store, 1, scope="modules", type="module")
    damaged = put_backup(store, 2)
    verify.remember(store, damaged, "an object is missing", now=NOW)
    put_backup(store, -24 * 365)
    found = look(store, "freshness")
    assert found.status == "error"
    assert "1 more are dated in the future" in found.message
    verify.remember(store, damaged, None, now=NOW + timedelta(seconds=1))
    assert look(store, "freshness").status == "ok"


def test_success_goes_by_the_newest_attempt(store: Store) -> None:
    """A failed backup is red until one is done; a refused one warns."""
    put_record(store, "backup", "done", 60)
    put_record(store, "backup", "failed", 50, "the disk is full")
    put_record(store, "backup", "failed", 40, "the disk is full")
    found = look(store, "success")
    assert (found.status, found.numbers["in_a_row"]) == ("error", 2)
    assert "2 in a row" in found.message and "the disk is full" in found.message
    put_record(store, "backup", "refused", 30)
    assert look(store, "success").status == "warning"
    put_record(store, "backup", "done", 20)
    put_record(store, "plan", "failed", 10)
    assert look(store, "success").status == "ok"


def test_intact_is_red_while_a_backup_is_damaged(store: Store) -> None:
    """A backup that verify found damaged is red; it is not once it was found whole, or is gone."""
    good, bad = put_backup(store, 2), put_backup(store, 1)
    assert look(store, "intact").status == "ok"
    verify.remember(store, bad, "an object is missing", now=NOW)
    found = look(store, "intact")
    assert (found.status, found.numbers["damaged"]) == ("error", 1)
    assert bad.id in found.message and good.id not in found.message
    store.delete([layout.manifest_key("crm", bad.id)])
    assert look(store, "intact").status == "ok"


def test_intact_is_red_while_a_manifest_cannot_be_read(store: Store) -> None:
    """A manifest of garbage is red, whatever the others are."""
    put_backup(store, 2)
    key = layout.manifest_key("crm", "20260101T000000Z-manual-abcdef")
    store.put_new(key, b"{}")
    found = look(store, "intact")
    assert (found.status, found.numbers["unreadable"]) == ("error", 1)
    store.delete([key])
    assert look(store, "intact").status == "ok"


def test_restorable_needs_a_drill_that_passed_not_too_long_ago(store: Store) -> None:
    """Without a drill it warns while the backups are young; an old one is red, as is a failed."""
    assert look(store, "restorable").status == "unknown"
    put_backup(store, 24)
    assert look(store, "restorable").status == "warning"
    assert look(store, "restorable", now=NOW + timedelta(days=35)).status == "error"
    put_drill(store, 10)
    assert look(store, "restorable").status == "ok"
    assert look(store, "restorable", now=NOW + timedelta(days=35)).status == "error"
    put_record(store, "drill", "failed", 5, "public.deals differs")
    found = look(store, "restorable")
    assert found.status == "error" and "public.deals differs" in found.message
    put_drill(store, 1)
    assert look(store, "restorable").status == "ok"


def test_recovery_time_is_that_of_the_last_drill(store: Store) -> None:
    """A drill slower than the target is red until a faster one."""
    system = crm(guards={"recovery_time_minutes": 1})
    assert look(store, "recovery_time", system).status == "unknown"
    put_drill(store, 2, seconds=61)
    assert look(store, "recovery_time", system).status == "error"
    put_drill(store, 1, seconds=59)
    assert look(store, "recovery_time", system).status == "ok"


def test_window_is_that_of_the_newest_backup(store: Store) -> None:
    """A backup slower than its window warns until a faster one."""
    system = crm(guards={"window_minutes": 1})
    put_backup(store, 2, seconds=61)
    assert look(store, "window", system).status == "warning"
    put_backup(store, 1, seconds=59)
    assert look(store, "window", system).status == "ok"


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ((1000, 50_000), (501, 26_000), "ok"),
        ((1000, 50_000), (499, 26_000), "error"),
        ((1000, 50_000), (1000, 24_000), "error"),
        ((99, 5000), (0, 0), "ok"),
        ((100, 5000), (0, 0), "error"),
    ],
)
def test_shrink_fires_above_the_share(
    store: Store, before: tuple[int, int], after: tuple[int, int], status: str
) -> None:
    """Rows or bytes of a table that had min_rows may fall by the share and no more."""
    put_backup(store, 2, {"public.deals": before})
    put_backup(store, 1, {"public.deals": after})
    assert look(store, "shrink").status == status
    put_backup(store, 0.5, {"public.deals": after})
    assert look(store, "shrink").status == "ok"


def test_shrink_fires_when_a_table_is_gone(store: Store) -> None:
    """A table that the newest backup does not have is named, with the rows that it had."""
    put_backup(store, 2, {"public.deals": (10, 10), "public.leads": (200, 10)})
    put_backup(store, 1, {"public.deals": (10, 10)})
    found = look(store, "shrink")
    assert found.status == "error"
    assert "public.leads is gone (it had 200 rows)" in found.message


def test_shrink_sees_many_small_tables_that_fall_together(store: Store) -> None:
    """Tables below min_rows may fall, but not all of them at once."""
    before = {f"public.t{number}": (50, 500) for number in range(10)}
    put_backup(store, 3, before)
    put_backup(store, 2, before | {"public.t0": (0, 0)})
    assert look(store, "shrink").status == "ok"
    put_backup(store, 1, dict.fromkeys(before, (0, 0)))
    found = look(store, "shrink")
    assert found.status == "error" and "all tables together" in found.message


def test_shrink_and_growth_count_a_partitioned_table_as_one(store: Store) -> None:
    """Rows that move to another partition neither fall nor rise."""
    root = {"partition_of": "public.events"}
    entry = put_backup(store, 3, {"public.e_a": (1000, 1000), "public.e_b": (0, 0)})
    tables = tuple(table.model_copy(update=root) for table in entry.tables)
    store.delete([layout.manifest_key("crm", entry.id)])
    put_backup(store, 2, tables=tables)
    moved = tuple(
        table.model_copy(update={"rows": 1000 - table.rows, "size_bytes": 1000 - table.rows})
        for table in tables
    )
    put_backup(store, 1, tables=moved)
    assert look(store, "shrink").status == look(store, "growth").status == "ok"


def test_shrink_and_growth_compare_no_bytes_of_two_formats(store: Store) -> None:
    """A table that is written as Parquet from now on has not lost what JSON Lines took."""
    sizes: tuple[tuple[layout.Format, int, int, str], ...] = (
        ("jsonl", 1000, 9000, "unknown"),
        ("parquet", 1000, 1000, "ok"),
        ("jsonl", 1000, 9000, "ok"),
        # Rows count whatever the format, and bytes of one format do.
        ("parquet", 400, 1000, "error"),
        ("parquet", 400, 400, "error"),
    )
    for number, (format, rows, size, shrink) in enumerate(sizes):
        key = layout.part_key("crm", "id", "public", "deals", 0, format=format)
        part = Part(key=key, rows=rows, size_bytes=size, sha256="", digest="")
        entry = put_backup(store, 20 - number, {"public.deals": (rows, size)})
        store.delete([layout.manifest_key("crm", entry.id)])
        [table] = entry.tables
        tables = (table.model_copy(update={"parts": (part,)}),)
        put_backup(store, 10 - number, tables=tables)
        assert look(store, "shrink").status == shrink
        assert look(store, "growth").status in ("ok", "unknown")


def test_growth_fires_above_the_share(store: Store) -> None:
    """A table that had min_rows may grow to four times its size; one that is new, to any."""
    put_backup(store, 4, {"public.deals": (100, 100), "public.leads": (99, 99)})
    put_backup(store, 3, {"public.deals": (400, 400), "public.leads": (9900, 99)})
    assert look(store, "growth").status == "ok"
    put_backup(store, 2, {"public.deals": (1601, 400), "public.new": (10**6, 10**6)})
    found = look(store, "growth")
    assert found.status == "warning"
    assert "public.deals" in found.message and "public.new" not in found.message
    put_backup(store, 1, {"public.deals": (1601, 400)})
    assert look(store, "growth").status == "ok"


def test_storage_warns_and_then_is_red(store: Store) -> None:
    """All objects of the system count against the limit, at 80 and at 95 percent."""
    system = crm(storage_limit="100 KB")
    store.put_new("crm/anything/at/all", b"x" * 79_000)
    store.put_new("crm2/not/ours", b"x" * 50_000)
    assert look(store, "storage", system).status == "ok"
    store.put_new("crm/some/more", b"x" * 1_000)
    assert look(store, "storage", system).status == "warning"
    store.put_new("crm/still/more", b"x" * 15_000)
    found = look(store, "storage", system)
    assert (found.status, found.numbers["percent"]) == ("error", 95.0)
    store.delete(["crm/some/more", "crm/still/more"])
    assert look(store, "storage", system).status == "ok"


def test_prune_is_red_after_a_failed_one(store: Store) -> None:
    """The store that refused to remove something is told until a prune is done."""
    put_record(store, "prune", "failed", 2, "the store refused to remove 1")
    found = look(store, "prune")
    assert found.status == "error" and "the store refused" in found.message
    put_record(store, "prune", "done", 1)
    assert look(store, "prune").status == "ok"


def test_prune_warns_of_a_removal_that_is_not_finished(store: Store) -> None:
    """A removal that was begun and not ended is named."""
    backup = "20260101T000000Z-manual-abcdef"
    state_log.append(store, "crm", "removals", backup, "started", {"operator": "ada"})
    found = look(store, "prune")
    assert found.status == "warning" and backup in found.message
    state_log.append(store, "crm", "removals", backup, "done", {})
    assert look(store, "prune").status == "ok"


def test_notify_is_red_until_a_message_could_be_sent(store: Store) -> None:
    """The record of people who could not be told counts until a later operation has told them."""
    put_record(store, "backup", "done", 3)
    assert look(store, "notify").status == "ok"
    put_record(store, "notify", "failed", 3, "the mail server is down")
    found = look(store, "notify")
    assert found.status == "error" and "the mail server is down" in found.message
    put_record(store, "backup", "done", 1)
    assert look(store, "notify").status == "ok"


def test_audit_is_red_while_records_wait(store: Store) -> None:
    """A record that the store has not taken is red until it is written."""
    put_backup(store, 1)
    happened = Happened(operation="backup", outcome="done", operator="ada", at=NOW)
    spool.add(store.url, "crm", happened)
    assert look(store, "audit").status == "error"
    spool.flush(store, "crm")
    assert look(store, "audit").status == "ok"


def test_the_guards_of_tables_over_a_real_database(
    store: Store, server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> None:
    """Rows deleted, rows added, a column of a new type and an unclaimed table are all found."""
    database = make_database(server)
    database.run(
        "CREATE TABLE deals AS SELECT i AS id, repeat('x', 50) AS note FROM"
        " generate_series(1, 1000) i; CREATE TABLE leads AS TABLE deals; CREATE TABLE sessions ()"
    )
    system = crm(
        modules={"sales": ModuleSpec(tables=["deals", "leads"])},
        excluded=[ExcludedSpec(table="sessions", reason="they end with a restore")],
    )

    def statuses() -> dict[str, str]:
        entry = back_up(database.reader_url, store, system)
        looked = assess(store, system, entry.created_at)
        names = ("coverage", "shrink", "growth", "types")
        return {guard: found(looked, guard).status for guard in names}

    assert statuses() == {
        "coverage": "ok", "shrink": "unknown", "growth": "unknown", "types": "unknown"
    }  # fmt: skip
    database.run(
        "DELETE FROM deals WHERE id > 400",
        "INSERT INTO leads SELECT i, 'new' FROM generate_series(1, 9000) i",
        "ALTER TABLE leads ADD area int4range",
        "CREATE TABLE forgotten ()",
    )
    assert statuses() == {
        "coverage": "warning", "shrink": "error", "growth": "warning", "types": "warning"
    }  # fmt: skip
    looked = assess(store, system, NOW)
    assert "public.forgotten" in found(looked, "coverage").message
    assert "public.sessions (they end with a restore)" in found(looked, "coverage").message
    assert "public.deals went from 1,000 to 400 rows" in found(looked, "shrink").message
    assert "public.leads" in found(looked, "growth").message
    message = found(looked, "types").message
    assert "public.leads.area is int4range" in message
    assert "the type pg_catalog.int4range, kept as text" in message
    database.run("DROP TABLE forgotten")
    assert set(statuses().values()) == {"ok"}


def test_types_tells_of_a_changed_column(store: Store) -> None:
    """A column with another type than in the backup before is named with both."""
    put_backup(store, 3, columns=[("id", "integer", "native")])
    put_backup(store, 2, columns=[("id", "bigint", "native"), ("more", "integer", "native")])
    found = look(store, "types")
    assert found.status == "warning"
    assert "public.deals.id is bigint, was integer" in found.message
    assert "more" not in found.message
    put_backup(store, 1, columns=[("id", "bigint", "native")])
    assert look(store, "types").status == "ok"


READING = System(
    system="crm",
    database_url_env="CRM_DATABASE_URL",
    modules={"all": ModuleSpec(tables=["*.*"])},
)


def test_readable_finds_missing_privileges_and_hidden_rows(
    server: EmbeddedServer, make_database: Callable[[Server], Database]
) -> None:
    """A table that may not be read, and one whose rows are hidden, are red with what to grant."""
    database = make_database(server)
    database.run("CREATE TABLE deals (id int)", "CREATE TABLE secrets (id int)")
    assert look_at(READING, database.reader_url).status == "ok"
    reader = f"{database.name}_reader"
    database.run(f"REVOKE pg_read_all_data FROM {reader}", as_admin=True)
    database.run(f"GRANT USAGE ON SCHEMA public TO {reader}; GRANT SELECT ON deals TO {reader}")
    denied = look_at(READING, database.reader_url)
    assert denied.status == "error"
    assert "public.secrets may not be read: GRANT SELECT" in denied.message
    database.run(
        f"GRANT SELECT ON secrets TO {reader}", "ALTER TABLE deals ENABLE ROW LEVEL SECURITY"
    )
    database.run(f"ALTER ROLE {reader} NOBYPASSRLS", as_admin=True)
    hidden = look_at(READING, database.reader_url)
    assert hidden.status == "error" and "row-level security" in hidden.message
    database.run(f"ALTER ROLE {reader} BYPASSRLS", as_admin=True)
    assert look_at(READING, database.reader_url).status == "ok"


def test_readable_is_red_when_the_database_is_down_or_the_credentials_are_wrong(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is told, the password is not."""
    monkeypatch.setenv("CRM_DATABASE_URL", "postgresql://nobody:hunter22@127.0.0.1/crm")
    down = look_at(READING, f"postgresql://nobody:hunter22@127.0.0.1:{free_port()}/crm")
    assert down.status == "error" and "refused" in down.message
    wrong = look_at(READING, server.url("postgres", "no_such_role"))
    assert wrong.status == "error" and "no_such_role" in wrong.message
    assert "hunter22" not in down.message + down.advice + wrong.message
    assert look_at(READING, "postgresql://a:b@c@d/e").status == "error"


def test_readable_gives_up_on_a_server_that_does_not_answer() -> None:
    """A port that takes connections and says nothing is red after a few seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        finding = look_at(READING, f"postgresql://a@127.0.0.1:{port}/a?connect_timeout=1")
    assert finding.status == "error" and "timeout" in finding.message
