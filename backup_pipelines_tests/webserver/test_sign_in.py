"""The pages of the log-in: who gets in, who does not, and how it ends."""

import json
import re
import time
from collections.abc import Mapping

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from backup_pipelines.access import identity, users
from backup_pipelines.access.roles import NEEDS, Role
from backup_pipelines.trail import audit
from backup_pipelines.webserver.watched import CHECKED_SECONDS
from backup_pipelines_tests.fix_serve import (
    ADMIN,
    OPERATOR,
    STRANGER,
    VIEWER,
    Answer,
    Serving,
    password_of,
    token_of,
)

_APP = "https://app.example.com"


def test_a_name_and_its_password_sign_in(serving: Serving) -> None:
    """Capitals of the name do not matter; the cookie is for this server's requests alone."""
    answer = serving.form(
        "/sign-in", {"name": " VERA ", "password": password_of(VIEWER), "next": "/runs?q=1"}
    )
    assert (answer.status, answer.headers["location"]) == (303, "/runs?q=1")
    [cookie] = answer.cookies
    assert re.fullmatch(
        r"backup_pipelines_session=[\w.-]+; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax", cookie
    )
    found = who_am_i(serving, cookie.partition(";")[0])
    assert found["name"] == "vera"


def who_am_i(serving: Serving, cookie: str) -> Mapping[str, object]:
    """What the server says about a session."""
    return serving.ask("GET", "/who-am-i", {"Cookie": cookie}).json()


def test_a_wrong_password_and_an_unknown_name_look_alike(serving: Serving) -> None:
    """The page does not say who exists."""

    def plain(answer: Answer) -> tuple[int, str]:
        return answer.status, re.sub(r'nonce="[^"]*"|value="[^"]*"', "", answer.text)

    wrong = serving.sign_in(OPERATOR, "a wrong password that is long")
    unknown = serving.sign_in("nobody@example.com", "a wrong password that is long")
    assert plain(wrong) == plain(unknown)
    assert wrong.status == 401
    assert "the name and the password do not fit" in wrong.text
    assert wrong.cookies == ()
    # What was typed as a name comes back as text, whatever it is; a password does not.
    odd = serving.sign_in('"><script>alert(1)</script>', "a wrong password that is long")
    assert "<script" not in odd.text
    assert "a wrong password" not in odd.text


def test_tries_end_in_a_lock_for_whoever_tries(serving: Serving) -> None:
    """After ten, the right password waits too, and a name that is not there is locked alike."""
    for name in ("not-there@example.com", ADMIN):
        cookie = serving.cookie(ADMIN)
        said = [serving.sign_in(name, f"wrong password number {n}").status for n in range(10)]
        assert said == [401] * 10
        locked = serving.sign_in(name)
        assert locked.status == 429
        assert "too many tries: after 10 wrong ones, wait 15 minutes" in locked.text
        assert 0 < int(locked.headers["retry-after"]) <= 901
        # Sessions that are open stay open.
        assert who_am_i(serving, cookie)["name"] == ADMIN
    # Others are not locked with them.
    assert serving.sign_in(OPERATOR).status == 303


def test_somebody_without_a_role_is_refused_with_the_reason(serving: Serving) -> None:
    """It is told after the password, and left in the trail of each system."""
    answer = serving.sign_in(STRANGER)
    assert answer.status == 403
    assert "nora has no role in any system" in answer.text
    assert answer.cookies == ()
    deadline = time.monotonic() + 30
    for system in ("crm", "dcim"):
        found: list[str] = []
        while not found and time.monotonic() < deadline:
            found = [
                r.message for r in audit.records(serving.store, system) if r.operator == "nora"
            ]
            time.sleep(0.1)
        assert "nora has no role in any system" in found[0]


@pytest.mark.parametrize(
    ("origin", "path", "expected"),
    [
        ("https://evil.example", "/sign-in", 403),
        ("null", "/sign-in", 403),
        (_APP, "/sign-in", 403),
        ("https://evil.example", "/sign-in/token", 403),
        ("https://app.example.com.evil.example", "/sign-in/token", 403),
        ("http://app.example.com", "/sign-in/token", 403),
        (_APP, "/sign-in/token", 303),
    ],
)
def test_forms_of_other_sites_sign_nobody_in(
    serving: Serving, origin: str, path: str, expected: int
) -> None:
    """Only a page that BACKUP_SIGN_IN_ORIGINS names may send a token."""
    token = token_of("x", email=OPERATOR)
    fields = {"name": OPERATOR, "password": password_of(OPERATOR), "token": token}
    answer = serving.form(path, fields, Origin=origin)
    assert answer.status == expected
    assert bool(answer.cookies) == (expected == 303)


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie:a=b\r\nX: y",
        "javascript:alert(1)",
        "/sign-out",
        "",
        " /runs",
        "/\t/evil.example",
    ],
)
def test_after_signing_in_one_stays_on_this_server(serving: Serving, wanted: str) -> None:
    """An address that was made elsewhere leads to the first page."""
    token = token_of("x", email=OPERATOR)
    answer = serving.form("/sign-in/token", {"token": token, "next": wanted})
    assert (answer.status, answer.headers["location"]) == (303, "/")


def test_a_token_that_is_not_good_is_refused_with_the_reason(serving: Serving) -> None:
    """And the page says nothing of the token itself."""
    answer = serving.form("/sign-in/token", {"token": "nonsense-of-a-token"})
    assert answer.status == 401
    assert "the token is not good here" in answer.text
    assert "nonsense-of-a-token" not in answer.text


def test_the_page_takes_nothing_from_elsewhere(serving: Serving) -> None:
    """No script, no frame, no file: its policy says so, and so does its text."""
    answer = serving.ask("GET", "/sign-in?next=/runs")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert "form-action 'self'" in policy
    assert not re.search(r"<script|<img|<link|https?://|\bon\w+=", answer.text)
    assert 'name="next" value="/runs"' in answer.text
    nonces = {re.findall(r'nonce="([^"]+)"', serving.ask("GET", "/sign-in").text)[0] for _ in "ab"}
    assert len(nonces) == 2


def test_what_is_no_form_or_too_long_is_refused(serving: Serving) -> None:
    """Before anybody has signed in, little is read."""
    said = {"Origin": serving.url, "Content-Type": "application/x-www-form-urlencoded"}
    assert serving.ask("POST", "/sign-in", said, b"a" * 70_000).status == 400
    assert serving.ask("POST", "/sign-in", said, b"\xff\xfe=%").status == 400
    assert (
        serving.ask("POST", "/sign-in", {**said, "Content-Type": "text/plain"}, b"a").status == 400
    )
    assert serving.form("/sign-in", {"name": "x" * 300, "password": "y"}).status == 401
    assert serving.form("/sign-in", {}).status == 401


def test_who_am_i_says_the_roles_and_what_they_allow(serving: Serving) -> None:
    """As a page and as JSON, from the one table of operations."""
    found = serving.ask("GET", "/who-am-i", {"Cookie": serving.cookie(OPERATOR)}).json()
    assert found["systems"] == {
        "crm": {"access": "enforced", "role": "operator"},
        "dcim": {"access": "enforced", "role": "viewer"},
    }
    for operation, least in NEEDS.items():
        if operation != "schedule":
            assert operation.replace("_", " ") in found["roles"][str(least)]
    page = serving.ask(
        "GET", "/who-am-i", {"Cookie": serving.cookie(OPERATOR), "Accept": "text/html"}
    )
    assert "olga@example.com" in page.text
    assert str(Role.OPERATOR) in page.text


def test_roles_come_from_the_application_s_own_table(serving: Serving) -> None:
    """By the id in the token, of which the name says nothing."""
    import psycopg

    with psycopg.connect(serving.variables["DCIM_DATABASE_URL"]) as connection:
        found = connection.execute("SELECT role::text, user_id::text FROM public.user_roles")
        by_role = {str(role): str(user) for role, user in found}
    expected = {"super_admin": "admin", "engineer": "operator", "viewer": "nobody"}
    for role, ours in expected.items():
        said = {"Authorization": f"Bearer {token_of(by_role[role], email='x@example.com')}"}
        answer = serving.ask("GET", "/who-am-i", said).json()
        assert answer["systems"]["dcim"]["role"] == ours, role
        assert answer["systems"]["crm"]["role"] == "nobody"


def test_signing_out_ends_the_session_on_the_server_too(serving: Serving) -> None:
    """Whoever has kept the cookie has nothing."""
    [first] = serving.sign_in(OPERATOR).cookies
    cookie = first.partition(";")[0]
    assert who_am_i(serving, cookie)["name"] == OPERATOR
    answer = serving.ask("POST", "/sign-out", {"Cookie": cookie, "Origin": serving.url})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert "Max-Age=0" in answer.cookies[0]
    assert serving.ask("GET", "/who-am-i", {"Cookie": cookie}).status == 401


def test_a_session_ends_with_its_user(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next request, and an open websocket a little later; so it is with a new password."""
    monkeypatch.setenv(users.BACKUP_USERS_FILE, serving.variables[users.BACKUP_USERS_FILE])
    monkeypatch.setenv(identity.BACKUP_ACCESS_KEY, serving.variables[identity.BACKUP_ACCESS_KEY])
    [first] = serving.sign_in(VIEWER).cookies
    cookie = first.partition(";")[0]
    url = serving.url.replace("http", "ws") + "/graphql"
    said = {"Cookie": cookie, "Origin": serving.url}
    with connect(url, additional_headers=said, subprotocols=["graphql-ws"]) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        assert "ack" in opened.recv(timeout=30)
        users.add(VIEWER, "another long password of vera")
        assert serving.ask("GET", "/who-am-i", {"Cookie": cookie}).status == 401
        with pytest.raises(ConnectionClosed):
            opened.recv(timeout=CHECKED_SECONDS + 15)
    [second] = serving.sign_in(VIEWER, "another long password of vera").cookies
    users.remove(VIEWER)
    later = serving.ask("GET", "/who-am-i", {"Cookie": second.partition(";")[0]})
    assert later.status == 401
    assert serving.sign_in(VIEWER, "another long password of vera").status == 401
    users.add(VIEWER, password_of(VIEWER))
    serving._cookies.pop(VIEWER, None)
