"""The run coordinator: who launches a run, whether the role allows it, and what is refused."""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import dagster as dg
import pytest
import yaml
from dagster._core.instance import InstanceType
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._serdes import ConfigurableClassData

from backup_pipelines import PostgresBackup
from backup_pipelines.access import identity, roles
from backup_pipelines.access.identity import BACKUP_ACCESS_KEY, REQUEST, SESSION, Identity
from backup_pipelines.access.roles import NEEDS, Role
from backup_pipelines.dagster_layer import job_names, operators, run_operations
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.demo.server import EmbeddedServer
from backup_pipelines.project import BACKUP_PROJECT
from backup_pipelines.system import System
from backup_pipelines_tests.dagster_layer.launching import PEOPLE, Launches, signed, write_system
from backup_pipelines_tests.fix_postgres import Database, Server

PROJECT = Path(__file__).resolve().parent.parent.parent

ENFORCED: dict[str, Any] = {
    "access": "enforced",
    "admins": ["boss"],
    "operators": ["otto"],
    "viewers": ["eve"],
}
SECOND: dict[str, Any] = {"url_env": "SECOND_STORE_URL"}
SHOP: dict[str, Any] = {
    "system": "shop",
    "database_url_env": "SHOP_DATABASE_URL",
    "modules": {"sales": {"tables": ["orders"]}},
    "requests": {"operations": ["backup", "restore"]},
    "second_store": SECOND,
}
DEPOT: dict[str, Any] = {
    "system": "depot",
    "database_url_env": "DEPOT_DATABASE_URL",
    "modules": {"stock": {"tables": ["items"]}},
}
ALL_OF_SHOP = ("shop/public/orders", "shop/other", "shop/schema")
ALL_OF_DEPOT = ("depot/public/items", "depot/other", "depot/schema")


@dg.job
def bakery() -> None:
    """A job of somebody else's code."""

    @dg.op
    def bake() -> None:
        pass

    bake()


@pytest.fixture
def defs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the run coordinator finds the systems: one that is enforced, one that is open."""
    project = tmp_path / "project"
    defs = project / "office" / "defs"
    write_system(defs, {**SHOP, **ENFORCED})
    write_system(defs, DEPOT)
    (project / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "office"\n')
    monkeypatch.setenv(BACKUP_PROJECT, str(project))
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    return defs


@pytest.fixture
def launches(defs_folder: Path, tmp_path: Path) -> Iterator[Launches]:
    """An instance in memory with the run coordinator of dagster.yaml."""
    said = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["run_coordinator"]
    coordinator = ConfigurableClassData(
        said["module"], said["class"], yaml.safe_dump(said["config"])
    ).rehydrate(as_type=QueuedRunCoordinator)
    defs = dg.Definitions.merge(
        *(
            dg.build_defs_for_component(PostgresBackup(System.model_validate(fields)))
            for fields in (SHOP, DEPOT)
        ),
        dg.Definitions(resources={"backup_environment": BackupEnvironment()}, jobs=[bakery]),
    )
    with dg.DagsterInstance(
        InstanceType.EPHEMERAL,
        local_artifact_storage=LocalArtifactStorage(str(tmp_path)),
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        run_coordinator=coordinator,
        compute_log_manager=NoOpComputeLogManager(),
        run_launcher=DefaultRunLauncher(),
    ) as made:
        yield Launches(made, defs)


def test_every_job_is_an_operation_whose_role_is_said(launches: Launches) -> None:
    """A new job that nobody has thought of fails here, and needs an admin until then."""
    repository = launches.defs.get_repository_def()
    shipped = {job.name for job in repository.get_all_jobs() if job.name.startswith("shop_")}
    known = job_names.all_operations("shop")
    assert shipped == set(known)
    assert {operation for operation in known.values() if operation not in NEEDS} == set()
    assert set(known.values()) >= roles.AUTOMATIC


@pytest.mark.parametrize("person", PEOPLE)
def test_each_role_may_launch_what_it_may_and_nothing_else(launches: Launches, person: str) -> None:
    """All jobs by all roles: a refused one says which role it needs and whom to ask."""
    for job, operation in job_names.all_operations("shop").items():
        run = launches.by_request(job, signed(person))
        why = launches.why(run)
        if PEOPLE[person] >= NEEDS[operation]:
            assert why == "", job
            assert "backup_pipelines/refused" not in run.tags
        else:
            least = "an admin" if NEEDS[operation] is Role.ADMIN else "an operator"
            assert why.endswith(f"of shop, and {operation} needs {least}: ask boss"), job
            assert run.tags["backup_pipelines/refused"] == f"{run.run_id} shop/{operation}"
        # Who it was is known either way, and only here.
        assert run.tags[operators.OPERATOR_TAG] == person
        assert operators.identity_of(run) == Identity(person, "password")


def test_the_daemon_launches_what_goes_by_itself_and_nothing_else(launches: Launches) -> None:
    """Schedules and sensors back up and prune, and do not restore."""
    for job, operation in job_names.all_operations("shop").items():
        run = launches.by_daemon(job, tags={operators.OPERATOR_TAG: "boss"})
        why = launches.why(run)
        if operation in roles.AUTOMATIC:
            assert why == "", job
        else:
            assert why == f"no schedule and no sensor may do a {operation}: a person must"
        if operation == "health":
            # It must not hang on a key, and says nothing that needs to be believed.
            continue
        assert operators.operator_of(run) == "schedule"
        assert run.tags[operators.OPERATOR_TAG] == "schedule"


def test_nobody_becomes_the_schedule(launches: Launches, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a backfill, or by a tag that has the daemon try again what was refused to somebody."""
    retried = {"dagster/max_retries": "3"}
    unsigned = "access to shop is enforced, and nobody has signed for this"
    assert unsigned in launches.why(
        launches.by_daemon("shop_backup", tags={"dagster/backfill": "abcdefgh"})
    )
    for person in ("eve", "otto"):
        run = launches.by_request("shop_prune", signed(person), tags=retried)
        assert launches.why(run)
        assert run.tags["dagster/max_retries"] == "0"
        assert unsigned in launches.why(launches.by_daemon("shop_prune", parent=run))
    allowed = launches.by_request("shop_backup", signed("otto"), tags=retried)
    assert allowed.tags["dagster/max_retries"] == "3"
    assert unsigned in launches.why(launches.by_daemon("shop_backup", parent=allowed))
    # What the schedule has launched may be tried again, where dagster.yaml says so.
    again = launches.by_daemon("shop_backup", parent=launches.by_daemon("shop_backup"))
    assert launches.why(again) == ""
    assert operators.operator_of(again) == "schedule"
    # Where access is open, both go on as ever.
    first = launches.by_request("depot_backup", signed("otto"))
    assert launches.why(launches.by_daemon("depot_backup", parent=first)) == ""
    monkeypatch.delenv(BACKUP_ACCESS_KEY)
    assert launches.why(launches.by_daemon("depot_backup", parent=first)) == ""


def _by_somebody(launches: Launches, header: str | None) -> str:
    run = launches.by_request("shop_backup", header, tags={operators.OPERATOR_TAG: "boss"})
    assert operators.operator_of(run, System.model_validate({**SHOP, **ENFORCED})) == (
        operators.UNSIGNED
    )
    # Neither is claimed what the client said.
    assert run.tags[operators.OPERATOR_TAG] == ""
    return launches.why(run)


def test_only_the_web_server_s_own_header_is_believed(
    launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is absent, made up, expired, of a session, of a run or of another key is none."""
    unsigned = (
        "access to shop is enforced, and nobody has signed for this backup: sign in and start it "
        "again"
    )
    boss = Identity("boss", "password")
    assert _by_somebody(launches, None) == unsigned
    assert _by_somebody(launches, "") == unsigned
    for header in (
        "boss",
        identity.sign(boss, SESSION),
        identity.sign(boss, identity.run_purpose("1")),
        signed("boss")[:-3] + "abc",
    ):
        assert "who asks for this is not signed by BACKUP_ACCESS_KEY" in (
            _by_somebody(launches, header)
        )
    expired = identity.sign(boss, REQUEST, timedelta(seconds=-5))
    assert _by_somebody(launches, expired) == "the sign-in has ended: sign in again"
    good = signed("boss")
    assert launches.why(launches.by_request("shop_backup", good)) == ""
    monkeypatch.setenv(BACKUP_ACCESS_KEY, secrets.token_hex(32))
    assert "not signed by BACKUP_ACCESS_KEY" in _by_somebody(launches, good)


def test_without_a_key_nothing_enforced_runs_but_the_look_at_the_health(
    launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says what to set; the health is looked at, so that people are told."""
    header = signed("boss")
    for key in ("", "short"):
        monkeypatch.setenv(BACKUP_ACCESS_KEY, key)
        state = "too short" if key else "not set"
        said = f"BACKUP_ACCESS_KEY is {state}: set the same random text"
        assert said in launches.why(launches.by_request("shop_backup", header))
        assert said in launches.why(launches.by_daemon("shop_backup"))
        assert launches.why(launches.by_daemon("shop_health")) == ""
        assert "nobody has signed" in launches.why(launches.by_request("shop_health"))
        assert launches.why(launches.by_request("depot_backup")) == ""
        assert launches.why(launches.by_daemon("depot_backup")) == ""


def test_an_open_system_runs_as_ever_and_honours_who_is_signed_in(launches: Launches) -> None:
    """Tags of a client and of a proxy are left; a signed header is believed before them."""
    restore = "depot_restore"
    said = {operators.OPERATOR_TAG: "ann"}
    run = launches.by_request(restore, tags=said)
    assert launches.why(run) == ""
    assert operators.operator_of(run) == "ann"
    assert operators.operator_of(launches.by_daemon(restore, tags=said)) == "ann"
    assert operators.operator_of(launches.by_request(restore, tags={"user": "bo"})) == "bo"
    assert operators.operator_of(launches.by_request(restore)) == operators.UNKNOWN
    scheduled = {"dagster/schedule_name": "depot_backup_schedule"}
    assert operators.operator_of(launches.by_daemon("depot_backup", tags=scheduled)) == "schedule"

    run = launches.by_request(restore, signed("stranger"), tags=said | {"user": "bo"})
    assert launches.why(run) == ""
    assert operators.operator_of(run) == run.tags[operators.OPERATOR_TAG] == "stranger"
    # What is forged is an attempt or a mistake, and either is to be heard of.
    assert "not signed" in launches.why(launches.by_request(restore, "stranger"))


def test_a_re_execution_is_of_whoever_starts_it(launches: Launches) -> None:
    """The tags of its parent do not stand for it, and its parent's refusal is not its own."""
    first = launches.by_request("shop_backup", signed("boss"))
    again = launches.by_request("shop_backup", signed("otto"), parent=first)
    assert launches.why(again) == ""
    assert operators.operator_of(again) == "otto"
    for header in (None, signed("eve")):
        assert launches.why(launches.by_request("shop_backup", header, parent=first))
    refused = launches.by_request("shop_backup", signed("eve"))
    allowed = launches.by_request("shop_backup", signed("otto"), parent=refused)
    assert launches.why(allowed) == ""
    assert run_operations.is_refused(refused) and not run_operations.is_refused(allowed)
    # In an open system the copied signature is worth nothing.
    copied = launches.by_request("depot_backup", parent=first)
    assert operators.operator_of(copied) == operators.UNKNOWN


def test_what_is_selected_decides_not_the_job(launches: Launches, defs_folder: Path) -> None:
    """Assets of one system, of both, looks, checks, and the job of all assets without a choice."""
    everything = "__ASSET_JOB"
    eve, otto = signed("eve"), signed("otto")

    def refused(header: str, *assets: str) -> str:
        run = launches.by_request(everything, header, assets=assets)
        assert run_operations.is_refused(run) == bool(launches.why(run))
        return " ".join(run.tags.get(run_operations.REFUSED_TAG, "").split()[1:])

    assert refused(otto, *ALL_OF_SHOP) == ""
    assert refused(eve, *ALL_OF_SHOP) == "shop/backup"
    assert refused(eve, *ALL_OF_DEPOT) == ""
    # One that is refused is reason enough to begin none.
    assert refused(eve, *ALL_OF_SHOP, *ALL_OF_DEPOT) == "depot/backup shop/backup"
    assert refused(eve, "shop/health") == "shop/health"
    assert refused(eve, "shop/modules/sales", "depot/health") == "depot/health shop/modules"
    assert refused(otto, "shop/modules/sales", "shop/health") == ""
    assert refused(eve).split() == [
        f"{system}/{operation}"
        for system in ("depot", "shop")
        for operation in ("backup", "drill", "health", "modules")
    ]
    both = [*ALL_OF_SHOP, *ALL_OF_DEPOT]
    assert launches.why(launches.by_request(everything, otto, assets=both)) == ""
    write_system(defs_folder, {**DEPOT, **ENFORCED, "operators": []})
    assert launches.why(launches.by_request(everything, otto, assets=both)) == (
        "otto is nobody of depot, and backup needs an operator: ask boss"
    )


def test_a_run_that_cannot_be_judged_is_refused(launches: Launches, defs_folder: Path) -> None:
    """A YAML that cannot be read costs its own system's launches, and no scheduled backup."""
    write_system(defs_folder, {**SHOP, **ENFORCED, "acess": "open"})
    assert "acess: unknown key" in launches.why(launches.by_request("shop_backup", signed("boss")))
    assert "acess: unknown key" in launches.why(launches.by_daemon("shop_restore"))
    assert launches.why(launches.by_request("depot_backup")) == ""
    # The op, which has the YAML that it was made of, asks once more.
    run = launches.by_daemon("shop_backup")
    assert launches.why(run) == ""
    assert operators.identity_of(run) == identity.of_schedule()

    (defs_folder / "shop" / "defs.yaml").write_text("attributes: [")
    assert "not valid YAML" in launches.why(launches.by_request("shop_backup", signed("boss")))


def test_runs_of_other_code_are_passed_on(launches: Launches) -> None:
    """Nobody has to sign in for them, and their tags stay as they are."""
    said = {operators.OPERATOR_TAG: "ann"}
    for run in (
        launches.by_request("bakery", tags=said),
        launches.by_request("bakery", "made up", tags=said),
        launches.by_daemon("bakery", tags=said),
    ):
        assert launches.why(run) == ""
        assert run.tags[operators.OPERATOR_TAG] == "ann"
        assert operators.IDENTITY_TAG not in run.tags


def test_what_our_own_code_believes_of_a_run_cannot_be_sent_with_it(launches: Launches) -> None:
    """An undo drops what a run says it has created, and the audit trail is anchored in runs."""
    forged = {
        "backup_pipelines/restored": "shop",
        "backup_pipelines/restored_from": "first",
        "backup_pipelines/created": '[["table", "public.orders"]]',
        "backup_pipelines/undo": "2026-11-20T10:00:00Z 20261120T100000Z-safety-abcdef",
        "backup_pipelines/request": "shop/r-1",
        "backup_pipelines/audit_shop": "7 0123456789abcdef",
        "backup_pipelines/refused": "x shop/backup",
    }
    told = {"backup_pipelines/schedule": "shop_backup_schedule", "team": "data"}
    for run in (
        launches.by_request("shop_backup", signed("otto"), tags=forged | told),
        launches.by_request("shop_prune", signed("eve"), tags=forged | told),
        launches.by_request("depot_backup", tags=forged | told),
        launches.by_daemon("shop_backup", tags=forged | told),
        launches.by_request("bakery", tags=forged | told),
    ):
        ours = {tag: run.tags[tag] for tag in forged if run.tags[tag]}
        assert ours == ({} if not launches.why(run) else {run_operations.REFUSED_TAG: ANY})
        assert ours.get(run_operations.REFUSED_TAG, run.run_id).startswith(run.run_id)
        assert {tag: run.tags[tag] for tag in told} == told


@pytest.mark.parametrize("tag", ["dagster-k8s/config", "dagster-celery/queue", "ecs/cpu"])
def test_nobody_chooses_where_an_enforced_run_is(launches: Launches, tag: str) -> None:
    """A launcher of pods would take image and environment from a tag; an admin's is refused too."""
    said = {tag: '{"container_config": {"image": "evil"}}'}
    for run in (
        launches.by_request("shop_backup", signed("boss"), tags=said),
        launches.by_daemon("shop_backup", tags=said),
    ):
        assert f"the tag {tag} would choose where this runs" in launches.why(run)
        assert run_operations.is_refused(run)
    assert launches.why(launches.by_request("depot_backup", tags=said)) == ""


def test_a_submitted_run_is_not_submitted_again(launches: Launches) -> None:
    """What Dagster's own queue does with one stays as it is."""
    run = launches.by_request("shop_backup", signed("boss"))
    again = launches.instance.submit_run(run.run_id, None)  # pyright: ignore[reportArgumentType]
    assert again.status is dg.DagsterRunStatus.QUEUED


def test_long_names_fit_into_the_tags(
    launches: Launches,
    defs_folder: Path,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
) -> None:
    """PostgreSQL's index of tags takes 2,704 bytes; the longest name, in any script, has fewer."""
    name = "雪" * 200
    write_system(defs_folder, {**SHOP, **ENFORCED, "operators": [name]})
    run = launches.by_request("shop_backup", signed(name, "token", secrets.token_hex(64)))
    assert launches.why(run) == ""
    database = make_database(server)
    database.run(
        "CREATE TABLE run_tags (key text, value text)",
        "CREATE INDEX idx_run_tags ON run_tags (key, value)",
    )
    for key, value in run.tags.items():
        database.run(f"INSERT INTO run_tags VALUES ('{key}', '{value}')")


@pytest.fixture
def roles_table(
    defs_folder: Path,
    server: EmbeddedServer,
    make_database: Callable[[Server], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> Database:
    """The table with the roles of the sample data centre's users, and a system that asks it."""
    database = make_database(server)
    database.run(
        "CREATE TYPE app_role AS ENUM ('super_admin', 'engineer', 'viewer')",
        "CREATE TABLE user_roles (user_id uuid NOT NULL, role app_role NOT NULL)",
        *(
            f"INSERT INTO user_roles VALUES ('{_uuid(number)}', '{role}')"
            for number, role in enumerate(("super_admin", "engineer", "viewer"), start=1)
        ),
        f"INSERT INTO user_roles VALUES ('{_uuid(4)}', 'viewer'), ('{_uuid(4)}', 'engineer')",
    )
    monkeypatch.setenv("SHOP_ROLES_URL", database.reader_url)
    table = {
        "table": "public.user_roles",
        "user_column": "user_id",
        "role_column": "role",
        "admins": ["super_admin"],
        "operators": ["engineer"],
        "viewers": ["viewer"],
        "database_url_env": "SHOP_ROLES_URL",
    }
    access = {**ENFORCED, "operators": [], "viewers": [], "roles_from": table}
    write_system(defs_folder, {**SHOP, **access})
    return database


def _uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def test_roles_of_the_application_are_asked_for_at_each_launch(
    launches: Launches, roles_table: Database
) -> None:
    """By the id of the token, never by a name; the highest of several counts, and at once."""
    expected = {1: (True, True), 2: (False, True), 3: (False, False), 4: (False, True)}
    for number, allowed in expected.items():
        header = signed("boss@example.com", "token", _uuid(number))
        found = [launches.by_request(job, header) for job in ("shop_restore", "shop_backup")]
        assert tuple(not launches.why(run) for run in found) == allowed
    for header in (signed(_uuid(1)), signed("x", "token", _uuid(5)), signed("x", "token", "1")):
        assert "is nobody of shop" in launches.why(launches.by_request("shop_backup", header))
    roles_table.run(f"DELETE FROM user_roles WHERE user_id = '{_uuid(1)}'")
    header = signed("boss@example.com", "token", _uuid(1))
    assert "is nobody of shop" in launches.why(launches.by_request("shop_backup", header))


def test_a_database_that_cannot_be_asked_lets_only_the_admins_of_the_yaml_in(
    launches: Launches, roles_table: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives no answer gives no role, and the launch does not wait for ever."""
    header = signed("super", "token", _uuid(1))
    assert launches.why(launches.by_request("shop_backup", header)) == ""
    gone = "postgresql://nobody:secret@127.0.0.1:9/nothing"
    for url in (gone, "", roles_table.reader_url.rsplit("/", 1)[0] + "/nothing"):
        monkeypatch.setenv("SHOP_ROLES_URL", url)
        started = time.monotonic()
        why = launches.why(launches.by_request("shop_backup", header))
        assert time.monotonic() - started < 20
        assert "roles of shop cannot be read from public.user_roles" in why
        assert "who is named under admins in its YAML needs no such look" in why
        assert "secret" not in why
        assert launches.why(launches.by_request("shop_restore", signed("boss"))) == ""
        assert launches.why(launches.by_daemon("shop_backup")) == ""
