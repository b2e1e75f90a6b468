"""The gate in front of Dagster: nobody gets past it whose name is not proved.

It stands before everything that Dagster serves, by HTTP and by websocket, its files included. What
passes carries who it is from twice: in the ASGI scope for this process, which no client can write
to, and signed in a header for the run coordinator, after all copies that the client sent are gone.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backup_pipelines.access import identity as identities
from backup_pipelines.access.identity import OPERATOR_HEADER, REQUEST, Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import Refused
from backup_pipelines.webserver import origins
from backup_pipelines.webserver.pages import PUBLIC, SIGN_IN, SIGNED_IN, Pages
from backup_pipelines.webserver.sessions import Known
from backup_pipelines.webserver.watched import Watched

IDENTITY = "backup_pipelines.identity"
"""Where the ASGI scope of a request holds who sent it."""

REQUEST_LIFETIME = timedelta(seconds=60)

_SAFE = ("GET", "HEAD")
_POLICY_VIOLATION = 1008

# Against pages that show ours in a frame, and browsers that guess what a file is.
_HEADERS: Mapping[str, str] = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NO_FRAMES = "frame-ancestors 'none'"

_log = logging.getLogger(__name__)


def identity_of(scope: Mapping[str, object] | None) -> Identity | None:
    """Who sent the request of this scope, as the gate found out."""
    found = (scope or {}).get(IDENTITY)
    return found if isinstance(found, Identity) else None


class Gate:
    """The ASGI middleware that everything comes through."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app = app
        self._pages = pages
        self._doors = pages.app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through with who sent it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            return
        scope = {name: value for name, value in scope.items() if name != IDENTITY}
        scope["headers"] = _without_ours(scope["headers"])
        if scope["type"] == "http":
            send = _with_headers(send)
            if scope["path"] in PUBLIC:
                await self._doors(scope, receive, send)
                return
        known, answer = await self._known(scope)
        if known is None or answer is not None:
            await _refuse(answer or _denied("sign in", 401), scope, receive, send)
            return
        scope[IDENTITY] = known.identity
        if scope["type"] == "http" and scope["path"] in SIGNED_IN:
            await self._doors(scope, receive, send)
            return
        answer = await self._unless_somebody(known.identity, scope)
        if answer is not None:
            await _refuse(answer, scope, receive, send)
            return
        signed = identities.sign(known.identity, REQUEST, REQUEST_LIFETIME)
        scope["headers"] = [
            *scope["headers"],
            (OPERATOR_HEADER.lower().encode("latin-1"), signed.encode("latin-1")),
        ]
        if scope["type"] == "http":
            await self._app(scope, receive, send)
            return
        await Watched(self._app, lambda: self._is_still(scope)).run(scope, receive, send)

    async def _known(self, scope: Scope) -> tuple[Known | None, Response | None]:
        """Who sends a request, or the answer for those who may not."""
        headers = Headers(scope=scope)
        try:
            known = await run_in_threadpool(self._pages.sessions.who, headers)
        except Refused as error:
            return None, _not_signed_in(scope, headers, str(error))
        if known is None:
            return None, _not_signed_in(scope, headers, "nobody is signed in: sign in at /sign-in")
        is_safe = scope["type"] == "http" and scope["method"] in _SAFE
        if known.by == "cookie" and not is_safe:
            secure = self._pages.sessions.is_secure
            if not origins.is_own(headers, secure=secure):
                _log.warning("a request of another site was refused: %s", scope["path"])
                return None, _denied("the request comes from a page of another site", 403)
        return known, None

    async def _unless_somebody(self, identity: Identity, scope: Scope) -> Response | None:
        """The answer for those who are signed in, and nobody in any system."""
        standing = await run_in_threadpool(self._pages.people.standing, identity)
        if standing.highest > Role.NOBODY:
            return None
        if _wants_page(scope, Headers(scope=scope)):
            return RedirectResponse("/who-am-i", status_code=303)
        return _denied(f"{identity.name} has no role in any system: see /who-am-i", 403)

    async def _is_still(self, scope: Scope) -> bool:
        """Whether whoever opened a websocket is still signed in, and somebody."""
        try:
            known = await run_in_threadpool(self._pages.sessions.who, Headers(scope=scope))
        except Refused:
            return False
        if known is None:
            return False
        standing = await run_in_threadpool(self._pages.people.standing, known.identity)
        return standing.highest > Role.NOBODY


def _without_ours(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without what only this server may say; servers differ in what they fold."""
    ours = OPERATOR_HEADER.lower()

    def plain(name: bytes) -> str:
        return name.decode("latin-1").strip().lower().replace("_", "-")

    return [(name, value) for name, value in headers if plain(name) != ours]


def _with_headers(send: Send) -> Send:
    """What is sent, with the headers that all answers have."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if _NO_FRAMES not in headers.get("content-security-policy", ""):
                headers.append("Content-Security-Policy", _NO_FRAMES)
            # What one person may see is not for the next one's browser history, nor for a proxy.
            kind = headers.get("content-type", "")
            if kind.startswith(("text/html", "application/json")):
                headers["Cache-Control"] = "no-store"
            headers.add_vary_header("Cookie, Authorization")
        await send(message)

    return sent


def _wants_page(scope: Scope, headers: Headers) -> bool:
    is_read = scope["type"] == "http" and scope["method"] in _SAFE
    return is_read and "text/html" in headers.get("accept", "")


def _not_signed_in(scope: Scope, headers: Headers, why: str) -> Response:
    if not _wants_page(scope, headers):
        return _denied(why, 401)
    wanted = scope["path"]
    if scope["query_string"]:
        wanted += "?" + scope["query_string"].decode("latin-1")
    wanted = origins.local_path(wanted)
    query = "" if wanted == "/" else "?" + urlencode({"next": wanted})
    return RedirectResponse(SIGN_IN + query, status_code=303)


def _denied(why: str, status: int) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    # As GraphQL says errors, so that Dagster's pages show the sentence.
    return JSONResponse({"error": why, "errors": [{"message": why}]}, status, headers)


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted: the server answers 403.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    await answer(scope, receive, send)
