"""Roles where the work is done: each op asks who has signed, however its run was started."""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from backup_pipelines import PostgresBackup, catalog, layout
from backup_pipelines.access import identity
from backup_pipelines.access.identity import BACKUP_ACCESS_KEY, Identity, of_schedule
from backup_pipelines.access.roles import AUTOMATIC, NEEDS, Role
from backup_pipelines.dagster_layer import job_names, operators, run_operations
from backup_pipelines.system import System
from backup_pipelines.trail import audit
from backup_pipelines.trail.audit import Record
from backup_pipelines_tests.dagster_layer.conftest import SHOP, Shop
from backup_pipelines_tests.dagster_layer.launching import PEOPLE, config
from backup_pipelines_tests.dagster_layer.test_assets import failure
from backup_pipelines_tests.dagster_layer.test_request_jobs import KEY, ask
from backup_pipelines_tests.fix_receivers import HttpReceiver

ENFORCED: Mapping[str, Any] = {
    "access": "enforced",
    "admins": ["boss"],
    "operators": ["otto", "app:jo"],
    "viewers": ["eve"],
    "requests": {"operations": ["backup", "restore"]},
    "activity_log": {
        "database_url_env": "SHOP_LOG_URL",
        "table": "public.activity",
        "columns": {
            "who": "{operator}",
            "action": "{action}",
            "severity": "{severity}",
            "why": "{message}",
        },
    },
}


@dataclass
class Guarded:
    """The sample system, its access enforced."""

    shop: Shop
    system: System

    def run(
        self,
        job: str,
        values: Mapping[str, object] | None = None,
        *,
        by: str | Identity | None = None,
        tags: Mapping[str, str] | None = None,
        **how: Any,
    ) -> dg.ExecuteInProcessResult:
        """Run a job to its end; `by` has signed for the run, with a password if it is a name."""
        run_id = str(uuid.uuid4())
        who = Identity(by, "password") if isinstance(by, str) else by
        given = config("shop", job)
        if values is not None:
            given = {"ops": {job_names.op_of(job): {"config": dict(values)}}}
        return self.shop.defs.resolve_job_def(job).execute_in_process(
            run_config={**given, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=self.shop.instance,
            run_id=run_id,
            tags={**(tags or {}), **(operators.stamp(who, run_id) if who else {})},
            raise_on_error=False,
            **how,
        )

    def refused(self, operation: str, why: str, result: dg.ExecuteInProcessResult) -> Record:
        """The record of a run that was refused, by which nothing was touched."""
        assert failure(result) == (why, 2)
        [record] = [r for r in audit.records(self.shop.store, "shop") if r.run_id == result.run_id]
        assert (record.operation, record.outcome, record.message) == (operation, "refused", why)
        return record

    def objects(self) -> set[str]:
        """All keys of the store but those of the audit trail."""
        keys = {found.key for found in self.shop.store.objects("shop/")}
        return {key for key in keys if not key.startswith(layout.audit_prefix("shop"))}


@pytest.fixture
def guarded(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """The sample system, its access enforced, with an activity log of the application."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name in ("BACKUP_NOTIFY_URLS", "BACKUP_HEARTBEAT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    monkeypatch.setenv("BACKUP_REQUESTS_KEY", KEY)
    monkeypatch.setenv("SHOP_LOG_URL", shop.database.owner_url)
    shop.database.run("CREATE TABLE activity (who text, action text, severity text, why text)")
    return enforced(shop)


def enforced(shop: Shop, **more: object) -> Guarded:
    """The definitions of the sample system, made anew."""
    system = System.model_validate({**SHOP.model_dump(mode="json"), **ENFORCED, **more})
    shop.defs = dg.Definitions.merge(
        dg.build_defs_for_component(PostgresBackup(system)),
        dg.Definitions(resources=shop.defs.resources),
    )
    return Guarded(shop, system)


def _jobs(guarded: Guarded) -> Mapping[str, str]:
    """All jobs, each with its operation, but the look at the health, which needs no signature."""
    enforced(guarded.shop, second_store={"url_env": "SECOND_STORE_URL"})
    known = job_names.all_operations("shop")
    shipped = {job.name for job in guarded.shop.defs.get_repository_def().get_all_jobs()}
    assert shipped - {"__ASSET_JOB"} == set(known)
    return {job: known[job] for job in shipped - {"__ASSET_JOB", "shop_health"}}


def test_no_op_begins_without_a_signature(guarded: Guarded) -> None:
    """Whatever the tags of the run claim; the record claims nobody."""
    before = guarded.objects()
    claims = {
        operators.OPERATOR_TAG: "boss",
        operators.PROXY_USER_TAG: "boss",
        "dagster/schedule_name": "shop_backup_schedule",
    }
    for job, operation in _jobs(guarded).items():
        record = guarded.refused(
            operation,
            f"access to shop is enforced, and nobody has signed for this {operation}: sign in and "
            "start it again",
            guarded.run(job, tags=claims),
        )
        assert record.operator == "unknown (nobody has signed)"
    assert guarded.objects() == before


@pytest.mark.parametrize("person", ["otto", "eve", "stranger"])
def test_each_role_is_refused_what_is_above_it(guarded: Guarded, person: str) -> None:
    """All jobs: the record has who it was, and the answer whom to ask."""
    role = f"{'an' if person == 'otto' else 'a'} {PEOPLE[person]}"
    role = "nobody" if person == "stranger" else role
    for job, operation in _jobs(guarded).items():
        if PEOPLE[person] < NEEDS[operation]:
            least = "an admin" if NEEDS[operation] is Role.ADMIN else "an operator"
            why = f"{person} is {role} of shop, and {operation} needs {least}: ask boss"
            record = guarded.refused(operation, why, guarded.run(job, by=person))
            assert record.operator == person


def test_the_schedule_may_do_what_goes_by_itself(guarded: Guarded) -> None:
    """Signed for as the daemon's, a run does that and nothing else."""
    for job, operation in _jobs(guarded).items():
        if operation not in AUTOMATIC:
            why = f"no schedule and no sensor may do a {operation}: a person must"
            record = guarded.refused(operation, why, guarded.run(job, by=of_schedule()))
            assert record.operator == "schedule"
    assert guarded.run("shop_backup", by=of_schedule()).success
    [entry] = catalog.backups(guarded.shop.store, "shop")
    assert entry.created_by == "schedule"


def test_who_may_is_believed_by_the_signature(guarded: Guarded) -> None:
    """Not by a tag that came with it; an operator backs up and drills, an admin restores."""
    shop = guarded.shop
    assert guarded.run("shop_backup", by="otto", tags={"user": "boss"}).success
    [entry] = catalog.backups(shop.store, "shop")
    assert entry.created_by == "otto"
    assert guarded.run("shop_drill", by="otto").success
    assert guarded.run("shop_modules", by="otto").success
    shop.database.run("UPDATE orders SET note = 'changed'")
    assert guarded.run("shop_restore", by="boss").success
    newest = audit.records(shop.store, "shop", last=1)[0]
    assert (newest.operation, newest.operator, newest.outcome) == ("restore", "boss", "done")
    # A selection of assets is a backup as well.
    job = shop.defs.get_repository_def().get_job("__ASSET_JOB")
    result = job.execute_in_process(
        instance=shop.instance,
        asset_selection=[dg.AssetKey(["shop", "public", "orders"])],
        raise_on_error=False,
    )
    assert "nobody has signed for this backup" in failure(result)[0]


def test_a_signature_is_good_for_its_own_run(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another run, for a request, or of another key is none; a missing key is named."""
    first = guarded.run("shop_backup", by="boss")
    run = guarded.shop.instance.get_run_by_id(first.run_id)
    assert run is not None
    boss = Identity("boss", "password")
    unsigned = (
        "who asks for this is not signed by BACKUP_ACCESS_KEY: sign in, or set the same key for "
        "every process of this installation"
    )
    for other in (run.tags[operators.IDENTITY_TAG], identity.sign(boss, identity.REQUEST), "boss"):
        tags = {operators.IDENTITY_TAG: other, operators.OPERATOR_TAG: "boss"}
        record = guarded.refused("restore", unsigned, guarded.run("shop_restore", tags=tags))
        assert record.operator == "unknown (nobody has signed)"
        assert record.reason == "bad day"
    for key, state in (("", "not set"), ("short", "too short")):
        monkeypatch.setenv(BACKUP_ACCESS_KEY, key)
        said, _ = failure(guarded.run("shop_backup", tags={operators.IDENTITY_TAG: "any"}))
        assert said.startswith(f"BACKUP_ACCESS_KEY is {state}: set the same random text of at ")


def test_a_refusal_is_told_in_all_the_places_where_people_look(
    guarded: Guarded, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit trail, the application's own log, a message; and the exit code is 2."""
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", http_receiver.url("json"))
    why = "eve is a viewer of shop, and restore needs an admin: ask boss"
    record = guarded.refused("restore", why, guarded.run("shop_restore", by="eve"))
    assert (record.operator, record.reason) == ("eve", "bad day")
    with psycopg.connect(guarded.shop.database.owner_url) as connection:
        rows = connection.execute("SELECT who, action, severity, why FROM activity").fetchall()
    assert rows == [("eve", "unauthorized_backup_access", "warning", why)]
    [told] = [received.json for received in http_receiver.received]
    assert told["title"] == "shop: restore refused"
    assert why in told["message"]


def _ask(guarded: Guarded, request_id: str, operation: str) -> str:
    """What the application is answered to a signed request of jo; nothing when it was done."""
    shop = guarded.shop
    ask(shop, request_id, operation)
    guarded.run("shop_request", {"request": request_id}, by=of_schedule())
    prefix = layout.request_prefix("shop", request_id)
    if shop.store.exists(f"{prefix}refused.json"):
        return str(json.loads(shop.store.get(f"{prefix}refused.json"))["reason"])
    assert json.loads(shop.store.get(f"{prefix}done.json"))["success"]
    return ""


def test_whom_a_request_names_needs_the_role_for_what_it_asks(guarded: Guarded) -> None:
    """The sensor's run is the schedule's; the application is answered as to any refusal."""
    shop = guarded.shop
    assert _ask(guarded, "r-1", "backup") == ""
    [entry] = catalog.backups(shop.store, "shop")
    assert entry.created_by == "app:jo"
    shop.database.run("UPDATE orders SET note = 'changed'")
    why = "app:jo is an operator of shop, and restore needs an admin: ask boss"
    assert _ask(guarded, "r-2", "restore") == why
    newest = audit.records(shop.store, "shop", last=1)[0]
    assert (newest.operation, newest.outcome, newest.message) == ("request", "refused", why)
    assert newest.details == {"request": "r-2"}
    assert _ask(enforced(shop, admins=["boss", "app:jo"]), "r-3", "restore") == ""
    with psycopg.connect(shop.database.owner_url) as connection:
        assert connection.execute("SELECT DISTINCT note FROM orders").fetchall() == [("x",)]


def _refused_launch(
    guarded: Guarded, job: str, asked: list[tuple[str, str]], *, by: str = "", **tags: str
) -> str:
    """A run as the run coordinator leaves it."""
    shop, run_id = guarded.shop, str(uuid.uuid4())
    run = shop.instance.create_run_for_job(
        shop.defs.resolve_job_def(job),
        run_id=run_id,
        run_config=config("shop", job),
        tags={
            **({run_operations.REFUSED_TAG: run_operations.refused_tag(run_id, asked)}),
            **(operators.stamp(Identity(by, "password"), run_id) if by else {}),
            **tags,
        },
    )
    shop.instance.report_run_failed(run, f"{by} may not")
    return run_id


def test_refused_launches_are_recorded_by_the_next_look(
    guarded: Guarded, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No op ever ran, and who tried what and why it was refused is known all the same, once."""
    shop = guarded.shop
    monkeypatch.setenv("BACKUP_NOTIFY_URLS", http_receiver.url("json"))
    restore = _refused_launch(guarded, "shop_restore", [("shop", "restore")], by="eve")
    forged = {operators.PROXY_USER_TAG: "boss", operators.OPERATOR_TAG: "boss"}
    several = [("depot", "backup"), ("shop", "backup"), ("shop", "health")]
    both = _refused_launch(guarded, "shop_backup", several, **forged)
    unjudged = _refused_launch(guarded, "shop_undo", [])
    elsewhere = _refused_launch(guarded, "shop_backup", [("depot", "backup")])
    # A run that was killed has its parent's tag, and was not refused.
    copied = {run_operations.REFUSED_TAG: f"{restore} shop/restore"}
    run = shop.instance.create_run_for_job(shop.defs.resolve_job_def("shop_backup"), tags=copied)
    shop.instance.report_run_failed(run)

    for _ in range(2):
        # Nobody has signed for the look: it is what tells people of a missing key.
        assert guarded.run("shop_health").success
    found = {(r.run_id, r.operation): r for r in audit.records(shop.store, "shop")}
    assert set(found) == {
        (restore, "restore"),
        (both, "backup"),
        (both, "health"),
        (unjudged, "undo"),
        (run.run_id, "backup"),
    }
    assert elsewhere not in {run_id for run_id, _ in found}
    assert len(audit.records(shop.store, "shop")) == len(found)
    first = found[restore, "restore"]
    assert (first.outcome, first.operator, first.message) == ("refused", "eve", "eve may not")
    assert first.reason == "bad day"
    assert found[both, "backup"].operator == "unknown (nobody has signed)"
    assert {one.outcome for key, one in found.items() if key[0] != run.run_id} == {"refused"}
    assert found[run.run_id, "backup"].outcome == "failed"
    titles = [received.json["title"] for received in http_receiver.received]
    assert titles.count("shop: restore refused") == 1
    with psycopg.connect(shop.database.owner_url) as connection:
        row = connection.execute("SELECT who, action FROM activity WHERE who = 'eve'").fetchall()
    assert row == [("eve", "unauthorized_backup_access")]


def test_an_open_system_asks_nobody(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, no signature: as ever; a signature that is there names the operator."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv(BACKUP_ACCESS_KEY, raising=False)
    assert shop.run("shop_backup", tags={operators.OPERATOR_TAG: "ann"}).success
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    opened = Guarded(shop, SHOP)
    assert opened.run("shop_backup", by="bo", tags={"user": "ann"}).success
    copied = {operators.IDENTITY_TAG: "another run's", "user": "cy"}
    assert opened.run("shop_backup", tags=copied).success
    found = [entry.created_by for entry in catalog.backups(shop.store, "shop")]
    assert found == ["cy", "bo", "ann"]
