"""Who sends a request: by the cookie of a session, or by a token of the application."""

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from starlette.datastructures import Headers

from backup_pipelines.access import identity as identities
from backup_pipelines.access import tokens, users
from backup_pipelines.access.identity import SESSION, Identity
from backup_pipelines.errors import Refused

LIFETIME = timedelta(hours=12)

# A browser takes a cookie of the first name by TLS only, from this host only, for all paths.
_SECURE_NAME, _PLAIN_NAME = "__Host-backup_pipelines", "backup_pipelines_session"

_BEARER = "bearer"
_MOST_ENDED = 10_000


@dataclass(frozen=True)
class Known:
    """Somebody, and how a request says so."""

    identity: Identity
    by: Literal["cookie", "bearer"]
    """A browser sends cookies by itself, whoever made it ask; a token it does not."""


class Sessions:
    """The sessions of this server; they are in the browsers, signed."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, float] = OrderedDict()

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this server by TLS."""
        return self._secure

    def begin(self, identity: Identity) -> str:
        """The Set-Cookie of somebody who has just signed in."""
        value = identities.sign(identity, SESSION, LIFETIME)
        return self._cookie(value, int(LIFETIME.total_seconds()))

    def end(self, headers: Headers) -> str:
        """Let the session of a request count no longer; the Set-Cookie that removes it."""
        value = self._value(headers)
        if _is_session(value):
            with self._lock:
                self._ended[_digest(value)] = time.monotonic() + LIFETIME.total_seconds()
                self._forget_old()
        return self._cookie("", 0)

    def who(self, headers: Headers) -> Known | None:
        """Who sends a request, or nobody; raises Refused for what says who and is not good."""
        authorizations = headers.getlist("authorization")
        if len(authorizations) > 1:
            raise Refused("the request has several Authorization headers: send one")
        scheme, _, token = authorizations[0].partition(" ") if authorizations else ("", "", "")
        if scheme.lower() == _BEARER:
            return Known(tokens.verify(token.strip()), "bearer")
        value = self._value(headers)
        if not value:
            return None
        identity = identities.read(value, SESSION)
        with self._lock:
            is_over = _digest(value) in self._ended
        if is_over or not _may_still_sign_in(identity):
            raise Refused("the sign-in has ended: sign in again")
        return Known(identity, "cookie")

    def _value(self, headers: Headers) -> str:
        found: SimpleCookie = SimpleCookie()
        for line in headers.getlist("cookie"):
            for part in line.split(";"):
                # One cookie that is none must not hide the others.
                name, _, value = part.strip().partition("=")
                if name == self._name:
                    try:
                        found[name] = value
                    except CookieError:
                        continue
        return found[self._name].value if self._name in found else ""

    def _cookie(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{self._name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"

    @property
    def _name(self) -> str:
        return _SECURE_NAME if self._secure else _PLAIN_NAME

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] > now and len(self._ended) <= _MOST_ENDED:
                return
            del self._ended[oldest]


def _is_session(value: str) -> bool:
    """Whether it was ever a session: what was none must take no room of those that ended."""
    try:
        identities.read(value, SESSION)
    except Refused:
        return False
    return True


def _may_still_sign_in(identity: Identity) -> bool:
    if identity.via == "password":
        return users.is_current(identity)
    return identity.via == "token" and tokens.are_taken()


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
