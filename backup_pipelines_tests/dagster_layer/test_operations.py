"""What every operation leaves behind: audit record, run tag, notification, activity log."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backup_pipelines import PostgresBackup, layout
from backup_pipelines.dagster_layer import operations
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Failed, Refused
from backup_pipelines.settings import ActivityLogSpec
from backup_pipelines.trail import audit, spool
from backup_pipelines.trail.audit import Record
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop

TAG = "backup_pipelines/audit_shop"
CONFIRM = {"confirm": "CONFIRM"}


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of the test's own, and nobody to be told."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in ("BACKUP_NOTIFY_URLS", "BACKUP_HEARTBEAT_URL"):
        monkeypatch.delenv(name, raising=False)


def newest(shop: Shop) -> Record:
    """The newest record of the trail."""
    return audit.records(shop.store, "shop", last=1)[0]


def tag(shop: Shop, run_id: str) -> str:
    """What the run says of its record."""
    run = shop.instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get(TAG, "")


def warnings(shop: Shop, run_id: str) -> str:
    """The warnings in a run's log."""
    return "\n".join(
        entry.user_message for entry in shop.instance.all_logs(run_id) if entry.level == 30
    )


def test_each_operation_is_recorded_with_what_it_did(shop: Shop) -> None:
    """Who, why, backup, plan, rows and digests are in the records, and runs anchor the chain."""
    by = {"backup_pipelines/operator": "ada"}
    assert shop.run("shop_backup", {"reason": "before"}, tags=by).success
    backup = newest(shop)
    assert (backup.operation, backup.outcome, backup.operator) == ("backup", "done", "ada")
    assert (backup.reason, backup.rows) == ("before", 153)
    assert backup.started_at is not None and backup.started_at < backup.at

    shop.database.run("DELETE FROM order_lines WHERE id <= 3", "UPDATE orders SET note = 'y'")
    assert shop.run("shop_plan").success
    plan = newest(shop)
    assert (plan.operation, plan.rows, plan.details["update"]) == ("plan", None, 100)
    config = {**CONFIRM, "plan": plan.plan_hash, "reason": "oops"}
    result = shop.run("shop_restore", config, tags=by)
    restored = newest(shop)
    assert (restored.operation, restored.backup, restored.rows) == ("restore", backup.backup, 103)
    assert (restored.plan_hash, restored.reason) == (plan.plan_hash, "oops")
    assert restored.run_id == result.run_id
    before, after = restored.digests_before, restored.digests_after
    changed = {table for table in after if before[table] != after[table]}
    assert changed == {"public.orders", "public.order_lines"}

    assert shop.run("shop_undo", CONFIRM).success
    undone = newest(shop)
    assert (undone.operation, undone.backup) == ("undo", restored.details["safety_backup"])
    assert undone.digests_after == before
    assert not shop.run("shop_restore", config | {"plan": "0123"}).success
    refused = newest(shop)
    assert (refused.outcome, refused.plan_hash) == ("refused", "0123")
    assert "the plan is" in refused.message
    assert shop.run("shop_verify").success
    assert newest(shop).operation == "verify"

    anchors = operations.anchors(shop.instance, shop.store, "shop")
    assert len(anchors) == 6
    assert audit.verify(shop.store, "shop", anchors).problems == ()
    shop.store.delete([layout.audit_key("shop", 6)])
    assert audit.verify(shop.store, "shop").problems == ()
    assert "record 6 is missing" in audit.verify(shop.store, "shop", anchors).problems[0]


def test_a_store_that_refuses_the_record_changes_nothing_else(shop: Shop) -> None:
    """The backup is done all the same; its record waits here and is written before the next."""
    blocked = Path(shop.store.url.removeprefix("file://")) / "shop" / "audit"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("where the folder should be")
    first = shop.run("shop_backup")
    assert first.success
    [waiting] = spool.waiting("shop")
    assert (waiting.operation, waiting.run_id) == ("backup", first.run_id)
    assert "the audit record waits on this machine" in warnings(shop, first.run_id)
    since = datetime.now(UTC) - timedelta(hours=1)
    assert operations.unreported(shop.instance, SHOP, since) == []

    blocked.unlink()
    second = shop.run("shop_backup")
    assert second.success
    assert spool.waiting("shop") == []
    records = audit.records(shop.store, "shop")
    assert [record.run_id for record in records] == [second.run_id, first.run_id]
    # The run that could not write it knows by now where its record is.
    assert tag(shop, first.run_id).startswith("1 ")
    assert tag(shop, second.run_id).startswith("2 ")


class _Ear(BaseHTTPRequestHandler):
    """Keeps what it is told."""

    heard: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        """Take the body, and be content."""
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        type(self).heard.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """What was sent to a channel at /told, and to the watchdog at /beat."""
    heard: list[tuple[str, bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Ear", (_Ear,), {"heard": heard}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.server_port
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", f"json://127.0.0.1:{port}/told")
    monkeypatch.setenv("BACKUP_HEARTBEAT_URL", f"http://127.0.0.1:{port}/beat")
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_people_and_the_watchdog_are_told(shop: Shop, ear: list[tuple[str, bytes]]) -> None:
    """A backup that is done and one that fails reach the channel and the watchdog, with advice."""
    assert shop.run("shop_backup").success
    shop.database.run("DROP TABLE order_lines")
    assert not shop.run("shop_backup").success
    shop.run("shop_plan")
    paths = [path for path, _ in ear]
    assert sorted(paths) == ["/beat", "/beat/fail", "/told", "/told"]
    done, failed = (json.loads(body) for path, body in ear if path == "/told")
    assert "backup done" in done["title"] and newest_backup(shop) in done["message"]
    assert "order_lines" in failed["message"] and "Nothing was changed" in failed["message"]


def newest_backup(shop: Shop) -> str:
    """The id in the record of the last backup that was done."""
    return next(r.backup for r in audit.records(shop.store, "shop") if r.operation == "backup"
                and r.outcome == "done")  # fmt: skip


def test_a_notification_that_fails_is_itself_recorded(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the other end: the run is green, warns, and the trail has it after the backup."""
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", "json://127.0.0.1:1/")
    result = shop.run("shop_backup")
    assert result.success
    told, backup = audit.records(shop.store, "shop")
    assert (told.operation, told.outcome, told.details["of"]) == ("notify", "failed", "backup")
    assert backup.operation == "backup"
    assert "not told: BACKUP_NOTIFY_URLS" in warnings(shop, result.run_id)
    assert tag(shop, result.run_id).startswith("2 ")


def test_the_applications_log_gets_a_row(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a table in the YAML each operation inserts there; one that cannot only warns."""
    shop.database.run("CREATE TABLE events (what text, how text)")
    spec = ActivityLogSpec(
        database_url_env="SHOP_LOG_URL",
        table="public.events",
        columns={"what": "{action}", "how": "{outcome}: {message}"},
    )
    system = SHOP.model_copy(update={"activity_log": spec})
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(system)),
        dg.Definitions(resources=shop.defs.resources),
    )
    monkeypatch.setenv("SHOP_LOG_URL", shop.database.owner_url)
    assert shop.run("shop_backup").success
    shop.database.run("DO $$ BEGIN ASSERT (SELECT what FROM events) = 'backup_created'; END $$")
    shop.database.run("ALTER TABLE events DROP COLUMN what")
    result = shop.run("shop_verify")
    assert result.success
    assert 'column "what"' in warnings(shop, result.run_id)


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (Refused("not like this"), "refused", "not like this"),
        (Failed("it broke"), "failed", "it broke"),
        (KeyError("postgresql://u:secret@h/d"), "failed", "the run broke off (KeyError)"),
        (KeyboardInterrupt(), "failed", "the run was interrupted (KeyboardInterrupt)"),
    ],
)
def test_the_error_of_the_operation_wins(
    shop: Shop, error: BaseException, outcome: str, message: str
) -> None:
    """An operation that ends by an error ends by it; the record has nothing that may be secret."""
    seen: list[BaseException] = []

    @dg.op
    def breaks(context: dg.OpExecutionContext, backup_environment: BackupEnvironment) -> None:
        try:
            with operations.operation(context, SHOP, "prune", backup_environment, reason="x"):
                raise error
        except BaseException as raised:
            seen.append(raised)

    @dg.job(resource_defs=dict(shop.defs.resources or {}))
    def job() -> None:
        breaks()

    job.execute_in_process(instance=shop.instance)
    assert seen == [error]
    found = newest(shop)
    assert (found.operation, found.outcome, found.reason) == ("prune", outcome, "x")
    assert found.message.startswith(message) and "secret" not in found.message


def test_runs_that_were_killed_are_reported_once(shop: Shop) -> None:
    """A run that failed without a word gets its record from whoever looks next, and only once."""
    since = datetime.now(UTC) - timedelta(hours=1)
    job = shop.defs.resolve_job_def("shop_backup")

    def ended(kind: dg.DagsterEventType, *, began: bool, **more: Any) -> str:
        run = shop.instance.create_run_for_job(job, **more)
        for event in [dg.DagsterEventType.RUN_START] * began + [kind]:
            shop.instance.handle_new_event(_event(run, event))
        return run.run_id

    killed = ended(
        dg.DagsterEventType.RUN_FAILURE, began=True, tags={"backup_pipelines/operator": "jo"}
    )
    ended(dg.DagsterEventType.RUN_CANCELED, began=False)
    reported = shop.run("shop_verify")
    assert not reported.success
    # A copy of a run has its tags, and speaks for itself.
    copied = ended(
        dg.DagsterEventType.RUN_FAILURE, began=True, tags={TAG: tag(shop, reported.run_id)}
    )
    found = operations.unreported(shop.instance, SHOP, since)
    assert {run.run_id for run in found} == {killed, copied}
    assert operations.unreported(shop.instance, SHOP, datetime.now(UTC) + timedelta(hours=1)) == []

    @dg.op
    def look(context: dg.OpExecutionContext, backup_environment: BackupEnvironment) -> None:
        operations.report_killed(context, SHOP, backup_environment, found)

    @dg.job(resource_defs=dict(shop.defs.resources or {}))
    def watch() -> None:
        look()

    assert watch.execute_in_process(instance=shop.instance).success
    assert operations.unreported(shop.instance, SHOP, since) == []
    record = next(r for r in audit.records(shop.store, "shop") if r.run_id == killed)
    assert (record.operation, record.outcome, record.operator) == ("backup", "failed", "jo")
    assert "killed" in record.message


def _event(run: dg.DagsterRun, kind: dg.DagsterEventType) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=run.run_id,
        timestamp=datetime.now(UTC).timestamp(),
        job_name=run.job_name,
        dagster_event=dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name),
    )
