"""The pages of the log-in: /sign-in, /sign-out and /who-am-i."""

import logging
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from backup_pipelines.access import tokens, users
from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import Refused
from backup_pipelines.webserver import markup, origins
from backup_pipelines.webserver.attempts import LOCKED_SECONDS, TRIES, Attempts
from backup_pipelines.webserver.people import People
from backup_pipelines.webserver.sessions import Sessions

SIGN_IN, SIGN_IN_BY_TOKEN = "/sign-in", "/sign-in/token"
SIGN_OUT, WHO_AM_I = "/sign-out", "/who-am-i"

PUBLIC = frozenset({SIGN_IN, SIGN_IN_BY_TOKEN})
"""What is answered to those who are nobody yet."""

SIGNED_IN = frozenset({SIGN_OUT, WHO_AM_I})

_FORM = "application/x-www-form-urlencoded"
_LONGEST_FORM = 64 * 1024
_LONGEST_NAME = 200

# A try takes 64 MiB and a core for a moment; no crowd of them may take the machine.
_TRIES_AT_ONCE = 4

_OTHER_SITE = "the form was sent from a page of another site: sign in here"
_WRONG = "the name and the password do not fit"

Refusal = Callable[[Identity, str], None]
"""Told when somebody who proved their name is refused at the door."""

_log = logging.getLogger(__name__)


class Pages:
    """The log-in of one server."""

    def __init__(self, people: People, sessions: Sessions, told: Refusal) -> None:
        self.people = people
        self.sessions = sessions
        self._told = told
        self._attempts = Attempts()
        # Those who wait for a place hold no thread, which everybody else's requests need.
        self._places = anyio.CapacityLimiter(_TRIES_AT_ONCE)

    def app(self) -> Starlette:
        """The pages; the gate hands on only what may reach them."""
        return Starlette(
            routes=[
                Route(SIGN_IN, self._show, methods=["GET"]),
                Route(SIGN_IN, self._by_password, methods=["POST"]),
                Route(SIGN_IN_BY_TOKEN, self._by_token, methods=["POST"]),
                Route(SIGN_OUT, self._sign_out, methods=["POST"]),
                Route(WHO_AM_I, self._who_am_i, methods=["GET"]),
            ]
        )

    async def _show(self, request: Request) -> Response:
        return await run_in_threadpool(self._form, request.query_params.get(markup.NEXT, ""))

    async def _by_password(self, request: Request) -> Response:
        if not origins.is_own(request.headers, secure=self.sessions.is_secure):
            return _refused(_OTHER_SITE, 403)
        form = await _form_of(request)
        if form is None:
            return _refused("the form is too long, or none", 400)
        address = request.client.host if request.client else ""
        return await anyio.to_thread.run_sync(self._try, form, address, limiter=self._places)

    async def _by_token(self, request: Request) -> Response:
        if not origins.may_send_tokens(request.headers, secure=self.sessions.is_secure):
            return _refused(_OTHER_SITE, 403)
        form = await _form_of(request)
        if form is None:
            return _refused("the form is too long, or none", 400)
        return await run_in_threadpool(self._take_token, form)

    async def _sign_out(self, request: Request) -> Response:
        answer = RedirectResponse(SIGN_IN, status_code=303)
        answer.headers["set-cookie"] = self.sessions.end(request.headers)
        answer.headers["clear-site-data"] = '"cache"'
        return answer

    async def _who_am_i(self, request: Request) -> Response:
        from backup_pipelines.webserver.gate import identity_of

        identity = identity_of(request.scope)
        if identity is None:
            return _refused("nobody is signed in", 401)
        standing = await run_in_threadpool(self.people.standing, identity)
        if "text/html" in request.headers.get("accept", ""):
            return _html(lambda nonce: markup.who_am_i(identity, standing, nonce))
        may = markup.may_do()
        document: dict[str, Any] = {
            "name": identity.name,
            "via": identity.via,
            "systems": {
                name: {
                    "access": "enforced" if name in standing.enforced else "open",
                    "role": str(role),
                }
                for name, role in standing.roles.items()
            },
            "problems": list(standing.problems),
            "roles": {str(role): list(what) for role, what in may.items()},
        }
        return JSONResponse(document)

    def _try(self, form: dict[str, str], address: str) -> Response:
        wanted, name = form.get(markup.NEXT, ""), form.get(markup.NAME, "").strip()
        password = form.get(markup.PASSWORD, "")
        # Nobody's; and it would cost nothing to count, which is not what counting is for.
        if len(name) > _LONGEST_NAME or len(password) > users.LONGEST_PASSWORD:
            return self._form(wanted, problem=_WRONG, status=401)
        seconds = self._attempts.begin(name, address)
        if seconds:
            _log.warning("too many tries to sign in from %s", address)
            minutes = int(LOCKED_SECONDS // 60)
            problem = f"too many tries: after {TRIES} wrong ones, wait {minutes} minutes"
            answer = self._form(wanted, name=name, problem=problem, status=429)
            answer.headers["retry-after"] = str(int(seconds) + 1)
            return answer
        try:
            identity = users.check(name, password)
        except Refused as error:
            _log.warning("nobody can sign in by a password: %s", error)
            return self._form(wanted, name=name, problem="nobody can sign in now", status=503)
        if identity is None:
            _log.warning("a wrong name or password from %s", address)
            return self._form(wanted, name=name, problem=_WRONG, status=401)
        self._attempts.succeeded(name, address)
        return self._let_in(identity, wanted)

    def _take_token(self, form: dict[str, str]) -> Response:
        wanted = form.get(markup.NEXT, "")
        try:
            identity = tokens.verify(form.get(markup.TOKEN, "").strip())
        except Refused as error:
            return self._form(wanted, problem=str(error), status=401)
        return self._let_in(identity, wanted)

    def _let_in(self, identity: Identity, wanted: str) -> Response:
        standing = self.people.standing(identity)
        if standing.highest is Role.NOBODY:
            sentence = "; ".join([markup.no_role(identity), *standing.problems])
            self._told(identity, sentence)
            return self._form(wanted, problem=sentence, status=403)
        _log.info("%s has signed in", identity.name)
        answer = RedirectResponse(origins.local_path(wanted), status_code=303)
        answer.headers["set-cookie"] = self.sessions.begin(identity)
        return answer

    def _form(
        self, wanted: str, *, name: str = "", problem: str = "", status: int = 200
    ) -> Response:
        is_taken = tokens.are_taken()
        try:
            has_users = bool(users.names())
        except Refused:
            has_users = True
        return _html(
            lambda nonce: markup.sign_in(
                nonce=nonce,
                wanted=origins.local_path(wanted),
                name=name,
                problem=problem,
                passwords=has_users or not is_taken,
                tokens=is_taken,
            ),
            status,
        )


async def _form_of(request: Request) -> dict[str, str] | None:
    """The fields of a form; nothing where it is another thing, or too long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return None
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LONGEST_FORM:
                return None
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except (ClientDisconnect, ValueError):
        return None
    return {name: values[0] for name, values in fields.items()}


def _refused(sentence: str, status: int) -> Response:
    return _html(lambda nonce: markup.refused(sentence, nonce), status)


def _html(made: Callable[[str], str], status: int = 200) -> Response:
    nonce = secrets.token_urlsafe(16)
    policy = markup.CONTENT_SECURITY_POLICY.format(nonce=nonce)
    return HTMLResponse(made(nonce), status, {"Content-Security-Policy": policy})
