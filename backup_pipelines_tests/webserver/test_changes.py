"""Each change that Dagster can make is judged by the role in the system that it is about."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLInputObjectType, GraphQLNonNull, GraphQLScalarType, get_named_type
from graphql.type import GraphQLEnumType, GraphQLField, GraphQLList, GraphQLUnionType

from backup_pipelines.access.roles import Role
from backup_pipelines.trail import audit
from backup_pipelines.webserver.mutations import RULES
from backup_pipelines_tests.fix_serve import ADMIN, OPERATOR, VIEWER, Serving, token_of

_MUTATIONS = create_schema().graphql_schema.mutation_type.fields

_PLACE = {"repositoryName": "__repository__", "repositoryLocationName": "backup_pipelines"}
_SAID = "{ __typename ... on Error { message } }"


def test_every_change_of_this_dagster_has_a_rule() -> None:
    """A new version of Dagster with a new mutation fails here, and refuses it meanwhile."""
    assert RULES.keys() == _MUTATIONS.keys()


def value_of(kind: Any, name: str = "") -> Any:
    """Some value of a type of arguments."""
    if isinstance(kind, GraphQLNonNull):
        return value_of(kind.of_type, name)
    if isinstance(kind, GraphQLList):
        return [value_of(kind.of_type, name)]
    if isinstance(kind, GraphQLInputObjectType):
        return {
            each: value_of(field.type, each)
            for each, field in kind.fields.items()
            if isinstance(field.type, GraphQLNonNull)
        }
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    assert isinstance(kind, GraphQLScalarType)
    return {"Int": 1, "Float": 1.0, "Boolean": True}.get(kind.name, name or "x")


def request_of(name: str, field: GraphQLField) -> tuple[str, dict[str, Any]]:
    """A request for a mutation with some value for each argument."""
    declared = ", ".join(f"${each}: {one.type}" for each, one in field.args.items())
    given = ", ".join(f"{each}: ${each}" for each in field.args)
    kind = get_named_type(field.type)
    selected = _SAID if isinstance(kind, GraphQLUnionType) else ""
    head = f"mutation({declared})" if declared else "mutation"
    call = f"{name}({given})" if given else name
    values = {each: value_of(one.type, each) for each, one in field.args.items()}
    return f"{head} {{ asked: {call} {selected} }}", values


def said_by(answer: Any, name: str = "asked") -> str:
    """What an answer says of a refusal, or nothing."""
    document = answer.json()
    for error in document.get("errors") or ():
        return str(error["message"])
    found = document["data"][name]
    if isinstance(found, dict) and found["__typename"] in ("UnauthorizedError", "PythonError"):
        return str(found["message"])
    return ""


@pytest.mark.parametrize("name", sorted(_MUTATIONS.keys() - {"setNuxSeen", "logTelemetry"}))
def test_a_viewer_may_make_no_change(serving: Serving, name: str) -> None:
    """Each mutation of the schema is refused with a sentence, under an alias too."""
    query, variables = request_of(name, _MUTATIONS[name])
    sentence = said_by(serving.graphql(VIEWER, query, variables))
    assert "vera is " in sentence or "for nobody while access is enforced" in sentence, sentence


@pytest.mark.parametrize(
    "name",
    sorted(name for name, rule in RULES.items() if rule.least in (None, Role.ADMIN)),
)
def test_an_operator_may_make_no_change_of_an_admin(serving: Serving, name: str) -> None:
    """What is not about one system, or not known, needs the role in each of them."""
    query, variables = request_of(name, _MUTATIONS[name])
    sentence = said_by(serving.graphql(OPERATOR, query, variables))
    assert "olga@example.com is " in sentence or "for nobody" in sentence, sentence


@pytest.mark.parametrize("name", sorted(n for n, rule in RULES.items() if rule.least is None))
def test_some_changes_are_nobody_s(serving: Serving, name: str) -> None:
    """An admin is told what to do instead."""
    query, variables = request_of(name, _MUTATIONS[name])
    sentence = said_by(serving.graphql(ADMIN, query, variables))
    assert "is for nobody while access is enforced: " in sentence


def launch(serving: Serving, who: str, job: str, **more: Any) -> Mapping[str, Any]:
    """Launch a job as somebody; what the server says."""
    query = (
        "mutation($params: ExecutionParams!) { asked: launchRun(executionParams: $params) {"
        " __typename ... on LaunchRunSuccess { run { id } } ... on Error { message } } }"
    )
    params = {"selector": {**_PLACE, "jobName": job, **more}, "runConfigData": {}}
    return serving.graphql(who, query, {"params": params}).json()["data"]["asked"]


def run_of(serving: Serving, run_id: str) -> Mapping[str, Any]:
    """A run as the list has it."""
    return next(run for run in serving.runs() if run["id"] == run_id)


def test_launches_are_judged_by_the_system_of_their_job(serving: Serving) -> None:
    """An operator of one system only looks at the other; an admin launches anything."""
    told = launch(serving, OPERATOR, "dcim_plan")
    assert told == {
        "__typename": "PythonError",
        "message": "olga@example.com is a viewer of dcim, and launching a run needs an operator: "
        f"ask {ADMIN}",
    }
    assets = [{"path": ["dcim", "public", "servers"]}]
    both = launch(serving, OPERATOR, "__ASSET_JOB", assetSelection=assets)
    assert "needs an operator" in both["message"], both
    done = launch(serving, OPERATOR, "crm_plan")
    assert run_of(serving, done["run"]["id"])["status"] == "QUEUED"
    done = launch(serving, ADMIN, "dcim_plan")
    assert run_of(serving, done["run"]["id"])["status"] == "QUEUED"


def test_what_needs_an_admin_is_refused_to_an_operator_by_the_run_coordinator(
    serving: Serving,
) -> None:
    """The launch gets that far, and the run fails with the reason, before it is queued."""
    done = launch(serving, OPERATOR, "crm_prune")
    assert run_of(serving, done["run"]["id"])["status"] == "FAILURE"
    done = launch(serving, ADMIN, "crm_prune")
    assert run_of(serving, done["run"]["id"])["status"] == "QUEUED"


@pytest.mark.parametrize("who", [VIEWER, OPERATOR])
def test_other_ways_to_launch_are_launches(serving: Serving, who: str) -> None:
    """Many at once, a re-execution of another's run, and what its parameters may name."""
    parent = launch(serving, ADMIN, "dcim_plan")["run"]["id"]
    before = {run["id"] for run in serving.runs()}
    params = {"selector": {**_PLACE, "jobName": "dcim_plan"}, "runConfigData": {}}
    many = (
        "mutation($p: [ExecutionParams!]!) { asked: launchMultipleRuns(executionParamsList: $p)"
        " { __typename ... on Error { message } } }"
    )
    again = "mutation($p: ReexecutionParams) { asked: %s(reexecutionParams: $p) " + _SAID + " }"
    other = "mutation($p: ExecutionParams) { asked: %s(executionParams: $p) " + _SAID + " }"
    child = {
        "selector": {**_PLACE, "jobName": "crm_plan"},
        "executionMetadata": {"parentRunId": parent, "rootRunId": parent},
    }
    asked: list[tuple[str, Any]] = [(many, [params, params])]
    for name in ("launchRunReexecution", "launchPipelineReexecution"):
        asked.append((again % name, {"parentRunId": parent, "strategy": "ALL_STEPS"}))
        asked.append((other % name, params))
        asked.append((other % name, child))
    for name in ("launchRun", "launchPipelineExecution"):
        asked.append(((other % name).replace("ExecutionParams)", "ExecutionParams!)"), params))
    for query, value in asked:
        sentence = said_by(serving.graphql(who, query, {"p": value}))
        assert "launching a run needs an operator" in sentence, (query, sentence)
    assert {run["id"] for run in serving.runs()} == before


def test_an_alias_a_fragment_and_company_change_nothing(serving: Serving) -> None:
    """Each field is judged for itself, wherever it stands in the request."""
    limit = 'setConcurrencyLimit(concurrencyKey: "x", limit: 2)'
    for query in (
        f"mutation {{ version: {limit} }}",
        f"mutation {{ ...F }} fragment F on Mutation {{ {limit} }}",
        f"mutation {{ ... on Mutation {{ {limit} }} }}",
        f"mutation {{ setNuxSeen a: {limit} b: {limit} }}",
        f"query Q {{ version }} mutation M {{ {limit} }}",
    ):
        body = json.dumps({"query": query, "operationName": "M" if "query Q" in query else None})
        said = {
            "Cookie": serving.cookie(VIEWER),
            "Origin": serving.url,
            "Content-Type": "application/json",
        }
        answer = serving.ask("POST", "/graphql", said, body)
        assert "changing limits of concurrency needs an admin" in answer.text, answer
        assert answer.status == 400, answer


def test_stopping_a_run_is_for_the_operators_of_its_system(serving: Serving) -> None:
    """Two at once need the role in both systems; an unknown run needs it in all."""
    ours = launch(serving, OPERATOR, "crm_plan")["run"]["id"]
    theirs = launch(serving, ADMIN, "dcim_plan")["run"]["id"]
    many = "mutation($ids: [String!]!) { asked: terminateRuns(runIds: $ids) { __typename } }"
    one = "mutation($id: String!) { asked: terminateRun(runId: $id) " + _SAID + " }"
    delete = "mutation($id: String!) { asked: deleteRun(runId: $id) " + _SAID + " }"
    for who, query, value in (
        (VIEWER, one, {"id": ours}),
        (OPERATOR, one, {"id": theirs}),
        (OPERATOR, many, {"ids": [ours, theirs]}),
        (OPERATOR, many, {"ids": [ours, "unknown"]}),
    ):
        assert "stopping a run needs an operator" in said_by(serving.graphql(who, query, value))
    for who in (VIEWER, OPERATOR):
        said = said_by(serving.graphql(who, delete, {"id": ours}))
        assert "removing a run needs an admin" in said
    assert run_of(serving, ours)["status"] == run_of(serving, theirs)["status"] == "QUEUED"
    assert said_by(serving.graphql(OPERATOR, one, {"id": ours})) == ""
    assert run_of(serving, ours)["status"] == "CANCELED"
    assert said_by(serving.graphql(ADMIN, delete, {"id": ours})) == ""
    assert ours not in {run["id"] for run in serving.runs()}


_STATES = """
    { repositoryOrError(repositorySelector: {
        repositoryName: "__repository__", repositoryLocationName: "backup_pipelines"
    }) { ... on Repository {
        schedules { id name scheduleState { id selectorId status } }
        sensors { id name sensorState { id selectorId status } } } } }
"""
_SWITCHES: tuple[tuple[str, str], ...] = (
    ("stopRunningSchedule", "dcim_backup_schedule"),
    ("stopSensor", "dcim_due"),
)


def state_of(serving: Serving, name: str) -> tuple[str, str]:
    """The id of a schedule or sensor, and whether it runs."""
    found = serving.graphql(ADMIN, _STATES).json()["data"]["repositoryOrError"]
    for one in [*found["schedules"], *found["sensors"]]:
        if one["name"] == name:
            state = one.get("scheduleState") or one["sensorState"]
            return one["id"], state["status"]
    raise AssertionError(f"no {name} in {found}")


@pytest.mark.parametrize(("mutation", "name"), _SWITCHES)
def test_schedules_and_sensors_are_switched_by_admins(
    serving: Serving, mutation: str, name: str
) -> None:
    """The id that Dagster's page sends leads to the system, and one of another is no way around."""
    found, _ = state_of(serving, name)
    query = f"mutation($id: String) {{ asked: {mutation}(id: $id) {_SAID} }}"
    for who in (VIEWER, OPERATOR):
        assert "needs an admin" in said_by(serving.graphql(who, query, {"id": found}))
    assert state_of(serving, name)[1] == "RUNNING"
    assert said_by(serving.graphql(ADMIN, query, {"id": found})) == ""
    assert state_of(serving, name)[1] == "STOPPED"


def test_an_admin_of_one_system_switches_nothing_of_another(
    serving: Serving, dcim_admin: Callable[[str, Mapping[str, Any]], Any]
) -> None:
    """An id made of two is about both; a name that is unknown is about all."""
    ours, theirs = state_of(serving, "dcim_due")[0], state_of(serving, "crm_due")[0]
    stop = "mutation($id: String) { asked: stopSensor(id: $id) " + _SAID + " }"
    assert said_by(dcim_admin(stop, {"id": ours})) == ""
    mixed = ours.partition("|")[0] + "|" + theirs.rpartition("|")[2]
    for other in (theirs, mixed, f"{ours}|{theirs}", "unknown|unknown"):
        assert "needs an admin" in said_by(dcim_admin(stop, {"id": other})), other
    start = "mutation($s: SensorSelector!) { asked: startSensor(sensorSelector: $s) " + _SAID + " }"
    for name in ("crm_due", "unknown"):
        selector = {**_PLACE, "sensorName": name}
        assert "needs an admin" in said_by(dcim_admin(start, {"s": selector}))
    selector = {**_PLACE, "sensorName": "dcim_due"}
    assert said_by(dcim_admin(start, {"s": selector})) == ""


_SCHEDULE = ("ScheduleSelector!", "scheduleSelector")
_EVENT = {"eventType": "ASSET_OBSERVATION", "assetKey": {"path": ["{}", "health"]}}
_OF_ONE_SYSTEM: Mapping[str, tuple[str, str, Any]] = {
    "startSchedule": (*_SCHEDULE, {**_PLACE, "scheduleName": "{}_drill_schedule"}),
    "resetSchedule": (*_SCHEDULE, {**_PLACE, "scheduleName": "{}_drill_schedule"}),
    "scheduleDryRun": (
        *("ScheduleSelector!", "selectorData"),
        {**_PLACE, "scheduleName": "{}_drill_schedule"},
    ),
    "resetSensor": ("SensorSelector!", "sensorSelector", {**_PLACE, "sensorName": "{}_due"}),
    "reportRunlessAssetEvents": ("ReportRunlessAssetEventsParams!", "eventParams", _EVENT),
    "deleteDynamicPartitions": ("String!", "partitionsDefName", "{}_backups"),
}


@pytest.mark.parametrize("name", sorted(_OF_ONE_SYSTEM))
def test_a_change_is_about_the_system_that_it_names(
    serving: Serving, dcim_admin: Callable[[str, Mapping[str, Any]], Any], name: str
) -> None:
    """An admin of that system may, who is nobody in the other; the same of the other is refused."""
    kind, argument, value = _OF_ONE_SYSTEM[name]
    more = ""
    if name == "deleteDynamicPartitions":
        place = ", ".join(f'{each}: "{said}"' for each, said in _PLACE.items())
        more = f', repositorySelector: {{{place}}}, partitionKeys: ["none"]'
    query = f"mutation($v: {kind}) {{ asked: {name}({argument}: $v{more}) {_SAID} }}"
    refused, allowed = (
        said_by(dcim_admin(query, {"v": json.loads(json.dumps(value).replace("{}", system))}))
        for system in ("crm", "dcim")
    )
    assert "boss@example.com is nobody of crm" in refused, refused
    # Dagster itself may have something to say.
    assert "boss@example.com" not in allowed


@pytest.fixture
def dcim_admin(serving: Serving) -> Callable[[str, Mapping[str, Any]], Any]:
    """Asks as a super admin of the application, whose role in dcim its own table says."""
    subject = super_admin(serving)

    def ask(query: str, variables: Mapping[str, Any]) -> Any:
        said = {
            "Authorization": f"Bearer {token_of(subject, email='boss@example.com')}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"query": query, "variables": variables})
        return serving.ask("POST", "/graphql", said, body)

    return ask


def super_admin(serving: Serving) -> str:
    """The id of a user of dcim who is a super admin there."""
    import psycopg

    with psycopg.connect(serving.variables["DCIM_DATABASE_URL"]) as connection:
        found = connection.execute(
            "SELECT user_id::text FROM public.user_roles WHERE role::text = 'super_admin'"
        ).fetchone()
    assert found is not None
    return str(found[0])


@pytest.mark.parametrize("what", ["materialization", "check", "observation"])
def test_events_are_reported_by_admins_of_everything(serving: Serving, what: str) -> None:
    """The addresses beside GraphQL ask as well, whichever way the asset is named."""
    body = json.dumps({"check_name": "restorable", "passed": True, "asset_key": ["crm", "backups"]})
    for who in (VIEWER, OPERATOR):
        for path in (f"/report_asset_{what}/crm/backups", f"/report_asset_{what}/"):
            said = {
                "Cookie": serving.cookie(who),
                "Origin": serving.url,
                "Content-Type": "application/json",
            }
            answer = serving.ask("POST", path, said, body)
            assert answer.status == 403, answer
            assert "reporting events of assets needs an admin" in answer.text
    said["Cookie"] = serving.cookie(ADMIN)
    assert serving.ask("POST", f"/report_asset_{what}/crm/backups", said, body).status == 200


def test_notebooks_are_read_by_admins(serving: Serving) -> None:
    """The address reads files of the code server."""
    path = "/notebook?repoLocName=backup_pipelines&path=/etc/x.ipynb"
    answer = serving.ask("GET", path, {"Cookie": serving.cookie(OPERATOR)})
    assert (answer.status, "needs an admin" in answer.text) == (403, True)


def test_a_refusal_is_in_the_audit_trail_of_its_system(serving: Serving) -> None:
    """Who, what and why; the same once more in the same minute fills nothing."""
    for _ in range(3):
        launch(serving, OPERATOR, "dcim_restore")
    records = waited(lambda: refusals(serving, "dcim", OPERATOR, "launchRun"))
    [record] = records
    assert (record.operation, record.outcome) == ("access", "refused")
    assert "olga@example.com is a viewer of dcim" in record.message
    # Of one system; the other's trail has no word of it.
    assert not refusals(serving, "crm", OPERATOR, "launchRun")
    assert audit.verify(serving.store, "dcim").problems == ()


def refusals(serving: Serving, system: str, who: str, what: str) -> list[audit.Record]:
    """The records of what was refused somebody."""
    return [
        record
        for record in audit.records(serving.store, system)
        if record.operator == who and record.details.get("asked") == what
    ]


def waited(look: Callable[[], Any]) -> Any:
    """What is found, as soon as there is anything; the trail is told in the background."""
    deadline = time.monotonic() + 30
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


_PERMISSIONS = "{ permissions { permission value disabledReason } }"


@pytest.mark.parametrize(
    ("who", "launches", "schedules", "wipes"),
    [(VIEWER, False, False, False), (OPERATOR, True, False, False), (ADMIN, True, True, False)],
)
def test_dagster_s_pages_offer_what_the_role_allows(
    serving: Serving, who: str, launches: bool, schedules: bool, wipes: bool
) -> None:
    """What is not allowed is greyed out there, with the reason."""
    found = serving.graphql(who, _PERMISSIONS).json()["data"]["permissions"]
    by_name = {one["permission"]: one for one in found}
    expected = {
        "launch_pipeline_execution": launches,
        "launch_pipeline_reexecution": launches,
        "terminate_pipeline_execution": launches,
        "start_schedule": schedules,
        "edit_sensor": schedules,
        "delete_pipeline_run": schedules,
        "edit_dynamic_partitions": schedules,
        "wipe_assets": wipes,
        "launch_partition_backfill": wipes,
    }
    assert {name: by_name[name]["value"] for name in expected} == expected
    for one in found:
        assert bool(one["disabledReason"]) != one["value"], one
