"""Nobody gets past the gate whose name is not proved, whatever they send."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from backup_pipelines.access import identity
from backup_pipelines.access.identity import OPERATOR_HEADER, Identity
from backup_pipelines_tests.fix_serve import (
    ADMIN,
    JWT_SECRET,
    KEY,
    OPERATOR,
    VIEWER,
    Serving,
    cookie_of,
    token_of,
)

_LAUNCH = """
    mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
        __typename ... on LaunchRunSuccess { run { id } } ... on Error { message } } }
"""
BACKUP = {
    "params": {
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "backup_pipelines",
            "jobName": "crm_plan",
        },
        "runConfigData": {},
    }
}
_INLINE = (
    'mutation { launchRun(executionParams: {selector: {repositoryName: "__repository__", '
    'repositoryLocationName: "backup_pipelines", jobName: "crm_plan"}, runConfigData: {}}) '
    "{ __typename } }"
)
_ASKED = json.dumps({"query": _LAUNCH, "variables": BACKUP})
_JSON = {"Content-Type": "application/json"}

# Everything that Dagster serves, and what it would serve by paths that it does not know.
_PATHS = (
    ("GET", "/"),
    ("GET", "/runs"),
    ("GET", "/favicon.png"),
    ("GET", "/server_info"),
    ("GET", "/dagit_info"),
    ("GET", "/graphql?query={version}"),
    ("GET", "/graphql/?query={version}"),
    ("GET", "//graphql?query={version}"),
    ("GET", "/%67raphql?query={version}"),
    ("HEAD", "/graphql"),
    ("POST", "/graphql"),
    ("GET", "/logs/1/2/out"),
    ("GET", "/notebook?repoLocName=backup_pipelines&path=a.ipynb"),
    ("GET", "/download_debug/1"),
    ("POST", "/report_asset_materialization/crm/backups"),
    ("POST", "/report_asset_check/crm/backups"),
    ("POST", "/report_asset_observation/crm/backups"),
    ("GET", "/who-am-i"),
    ("POST", "/sign-out"),
    ("GET", "/sign-in/../graphql?query={version}"),
    ("GET", "/sign-in/"),
    ("GET", "/SIGN-IN"),
    ("PUT", "/anything"),
    ("OPTIONS", "/graphql"),
)


def names_of_runs(serving: Serving) -> set[str]:
    """The ids of all runs there are."""
    return {run["id"] for run in serving.runs()}


@pytest.mark.parametrize(("method", "path"), _PATHS)
def test_nothing_is_served_to_nobody(serving: Serving, method: str, path: str) -> None:
    """Each address answers 401 to whoever has not signed in, Dagster's files included."""
    answer = serving.ask(method, path, _JSON, _ASKED if method == "POST" else b"")
    assert answer.status == 401, answer
    assert "dagster" not in answer.text.lower()


def test_a_browser_is_sent_to_the_sign_in(serving: Serving) -> None:
    """It comes back to where it wanted to go, and only there."""
    html = {"Accept": "text/html,application/xhtml+xml"}
    answer = serving.ask("GET", "/runs?q=a%20b", html)
    assert (answer.status, answer.headers["location"]) == (
        303,
        "/sign-in?next=%2Fruns%3Fq%3Da%2520b",
    )
    assert serving.ask("GET", "//evil.example/x", html).headers["location"] == "/sign-in"


_BAD_SESSIONS: Mapping[str, str] = {
    "another key": cookie_of(ADMIN, key="another key of forty characters ........"),
    "no such user": cookie_of("eve"),
    "another password": cookie_of(ADMIN, subject="0" * 16),
    "expired": cookie_of(ADMIN, lifetime=timedelta(seconds=-1)),
    "of a request": cookie_of(ADMIN, aud=identity.REQUEST),
    "of a run": cookie_of(ADMIN, aud="run 1"),
    "by the daemon": cookie_of("schedule", via="schedule"),
    "by the machine": cookie_of("os:root", via="os"),
    "by the application": cookie_of("app:ada", via="app"),
    "not signed": "backup_pipelines_session=eyJhbGciOiJub25lIn0.eyJuYW1lIjoiYWRhIn0.",
    "nonsense": "backup_pipelines_session=\u00e4; ;=;a",
}


@pytest.mark.parametrize("why", sorted(_BAD_SESSIONS))
def test_a_session_that_is_not_ours_is_none(serving: Serving, why: str) -> None:
    """Made by others, for another purpose, too old, or of somebody who is gone."""
    cookie = _BAD_SESSIONS[why].encode().decode("latin-1")
    assert serving.ask("GET", "/server_info", {"Cookie": cookie}).status == 401


def test_a_session_is_good_for_reading(serving: Serving) -> None:
    """Whoever has signed in gets Dagster's pages, with their name on them."""
    said = {"Cookie": serving.cookie(VIEWER), "Accept": "text/html"}
    assert serving.ask("GET", "/server_info", said).status == 200
    page = serving.ask("GET", "/runs", said)
    assert page.status == 200
    assert "<b>vera</b><span>viewer of crm; nobody of dcim</span>" in page.text
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


_SITES: Mapping[str, tuple[Mapping[str, str], int]] = {
    "our page": ({"Origin": "{own}"}, 200),
    "our page, by the newer header": ({"Sec-Fetch-Site": "same-origin"}, 200),
    "another site": ({"Origin": "https://evil.example"}, 403),
    "another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "https of this host": ({"Origin": "{https}"}, 403),
    "a sandboxed page": ({"Origin": "null"}, 403),
    "a file that calls itself ours": ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 403),
    "a site of the same owner": ({"Sec-Fetch-Site": "same-site"}, 403),
    "another site, by the newer header": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "no browser that says so": ({}, 403),
    "a host that is none": ({"Origin": "{own}@evil.example"}, 403),
    "our referrer alone": ({"Referer": "{own}/"}, 403),
}


@pytest.mark.parametrize("site", sorted(_SITES))
def test_a_page_of_another_site_can_change_nothing(serving: Serving, site: str) -> None:
    """The browser sends the cookie for it, and the server looks at where the page is from."""
    headers, expected = _SITES[site]
    https = serving.url.replace("http:", "https:")
    said = {
        n: v.replace("{own}", serving.url).replace("{https}", https) for n, v in headers.items()
    }
    cookie = {"Cookie": serving.cookie(ADMIN)}
    answer = serving.ask("POST", "/graphql", {**cookie, **_JSON, **said}, '{"query": "{version}"}')
    assert answer.status == expected, answer
    assert (
        serving.ask("POST", "/sign-out", {**cookie, "Origin": "https://evil.example"}).status == 403
    )


_OTHER_WAYS: Mapping[str, tuple[str, str, Mapping[str, str], str]] = {
    "by GET": ("GET", "/graphql?query=" + _INLINE.replace(" ", "%20"), {}, ""),
    "by GET as if for a page": (
        *("GET", "/graphql?query=" + _INLINE.replace(" ", "%20")),
        {"Accept": "text/html"},
        "",
    ),
    "as text": ("POST", "/graphql", {"Content-Type": "text/plain"}, _ASKED),
    "as text in the address": (
        *("POST", "/graphql?query=" + _INLINE.replace(" ", "%20")),
        {"Content-Type": "text/plain"},
        "",
    ),
    "as GraphQL": ("POST", "/graphql", {"Content-Type": "application/graphql"}, _INLINE),
    "as a form": (
        *("POST", "/graphql"),
        {"Content-Type": "application/x-www-form-urlencoded"},
        "query=" + _INLINE,
    ),
    "as a form that names JSON": (
        *("POST", "/graphql"),
        {"Content-Type": "text/plain; application/json"},
        _ASKED,
    ),
    "in a batch": ("POST", "/graphql", _JSON, f"[{_ASKED}]"),
    "in parts": (
        *("POST", "/graphql"),
        {"Content-Type": "multipart/form-data; boundary=x"},
        f'--x\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{_ASKED}\r\n--x--\r\n',
    ),
    "by PUT": ("PUT", "/graphql", _JSON, _ASKED),
}


@pytest.mark.parametrize("way", sorted(_OTHER_WAYS))
def test_graphql_is_asked_in_one_way_only(serving: Serving, way: str) -> None:
    """What browsers send for others, or what nobody checks, launches nothing; for an admin too."""
    before = names_of_runs(serving)
    method, path, headers, body = _OTHER_WAYS[way]
    said = {"Cookie": serving.cookie(ADMIN), "Origin": serving.url, **headers}
    answer = serving.ask(method, path, said, body)
    is_page = "text/html" in answer.headers.get("content-type", "")
    assert answer.status in (400, 405, 415) or is_page, answer
    assert "LaunchRunSuccess" not in answer.text or is_page
    assert names_of_runs(serving) == before


_SPELLINGS = (
    "X-Backup-Pipelines-Operator",
    "x-backup-pipelines-operator",
    "X_BACKUP_PIPELINES_OPERATOR",
    "X-Backup_Pipelines-Operator",
)


def forged(*, key: str) -> str:
    """A header that says the admin asks, signed by a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(identity.BACKUP_ACCESS_KEY, key)
        who = Identity(ADMIN, "password")
        return identity.sign(who, identity.REQUEST, timedelta(minutes=1))


@pytest.mark.parametrize("spelling", _SPELLINGS)
@pytest.mark.parametrize("key", [KEY, "x" * 40], ids=["our key", "another key"])
def test_the_header_of_who_asks_is_ours_alone(serving: Serving, spelling: str, key: str) -> None:
    """A copy that a client sends is gone, even one that would be good: the operator stays one."""
    before = names_of_runs(serving)
    answer = serving.graphql(OPERATOR, _LAUNCH, BACKUP, **{spelling: forged(key=key)})
    assert answer.json()["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    [run] = [run for run in serving.runs() if run["id"] not in before]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["backup_pipelines/operator"] == OPERATOR
    assert serving.ask("GET", "/server_info", {spelling: forged(key=key)}).status == 401


def test_a_forged_tag_of_who_asks_is_overwritten(serving: Serving) -> None:
    """Tags are the client's words; the run says who has signed in."""
    tags = [{"key": "backup_pipelines/operator", "value": ADMIN}, {"key": "user", "value": ADMIN}]
    params = {**BACKUP["params"], "executionMetadata": {"tags": tags}}
    before = names_of_runs(serving)
    serving.graphql(OPERATOR, _LAUNCH, {"params": params})
    [run] = [run for run in serving.runs() if run["id"] not in before]
    assert {"key": "backup_pipelines/operator", "value": OPERATOR} in run["tags"]


def test_the_header_is_the_one_of_the_run_coordinator() -> None:
    """Both sides name it by the same constant."""
    assert OPERATOR_HEADER in _SPELLINGS


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (token_of("nobody-knows", email=ADMIN), 200),
        (token_of("nobody-knows", email="somebody@example.com"), 403),
        (token_of("nobody-knows", email=ADMIN, aud="others"), 401),
        (token_of("nobody-knows", email="schedule"), 401),
        (token_of("nobody-knows", email="os:root"), 401),
        ("nonsense", 401),
        (JWT_SECRET, 401),
    ],
)
def test_a_program_asks_with_a_token_of_the_application(
    serving: Serving, token: str, expected: int
) -> None:
    """No page and no origin is asked for; a token that is not good is not passed over."""
    said = {"Authorization": f"Bearer {token}", **_JSON}
    answer = serving.ask("POST", "/graphql", said, '{"query": "{version}"}')
    assert answer.status == expected, answer
    if expected == 401:
        # A cookie beside it does not help.
        said["Cookie"] = serving.cookie(ADMIN)
        assert serving.ask("POST", "/graphql", said, '{"query": "{version}"}').status == 401


def websocket(serving: Serving, *queries: str, **headers: str) -> list[str]:
    """What a websocket of somebody answers to what it starts."""
    url = serving.url.replace("http", "ws") + "/graphql"
    said: list[str] = []
    with connect(url, additional_headers=headers, subprotocols=["graphql-ws"]) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        said.append(opened.recv(timeout=30))
        for number, query in enumerate(queries):
            message = {"type": "start", "id": str(number), "payload": {"query": query}}
            opened.send(json.dumps(message))
            said.append(opened.recv(timeout=30))
    return said


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example", "Cookie": "{cookie}"}, {"Cookie": "{cookie}"}],
    ids=["nobody", "another site", "no origin"],
)
def test_no_websocket_without_a_session_of_our_own_page(
    serving: Serving, headers: Mapping[str, str]
) -> None:
    """It is refused before it is opened."""
    cookie = serving.cookie(ADMIN)
    said = {name: value.replace("{cookie}", cookie) for name, value in headers.items()}
    with pytest.raises(InvalidStatus, match="403"):
        websocket(serving, **said)


def test_a_websocket_only_subscribes(serving: Serving) -> None:
    """A mutation does not run by it, not even one that has a subscription's name in it."""
    [run, *_] = serving.runs() or [{"id": "none"}]
    before = names_of_runs(serving)
    logs = f'pipelineRunLogs(runId: "{run["id"]}") {{ __typename }}'
    inner = _INLINE.removeprefix("mutation {").removesuffix("}")
    said = websocket(
        serving,
        _INLINE,
        f"mutation {{ {logs} {inner} }}",
        f"mutation {{ ... on Subscription {{ {logs} }} {inner} }}",
        f"subscription A {{ {logs} }} mutation B {{ {inner} }}",
        "{ version }",
        Cookie=serving.cookie(ADMIN),
        Origin=serving.url,
    )
    kinds = [json.loads(one)["type"] for one in said]
    assert kinds == ["connection_ack", *["error"] * 5], said
    assert names_of_runs(serving) == before
    fine = websocket(
        serving,
        f"subscription {{ {logs} }}",
        Cookie=serving.cookie(VIEWER),
        Origin=serving.url,
    )
    assert json.loads(fine[-1])["type"] == "data", fine
