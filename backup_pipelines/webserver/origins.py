"""Whether a browser's request comes from our own pages, and where it may be sent after."""

import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers

BACKUP_SIGN_IN_ORIGINS = "BACKUP_SIGN_IN_ORIGINS"
"""Pages of the application that may send a token to /sign-in/token: https://app.example.com ..."""

_PORTS = {"http": 80, "https": 443}


def is_own(headers: Headers, *, secure: bool) -> bool:
    """Whether a request comes from a page of this server, as far as its browser says.

    What says nothing is not believed: every browser says one or the other.
    """
    origins, hosts = headers.getlist("origin"), headers.getlist("host")
    if len(origins) > 1 or len(hosts) != 1:
        return False
    if not origins:
        return headers.getlist("sec-fetch-site") == ["same-origin"]
    scheme = "https" if secure else "http"
    own = _origin(f"{scheme}://{hosts[0]}")
    return own is not None and _origin(origins[0]) == own


def may_send_tokens(headers: Headers, *, secure: bool) -> bool:
    """Whether a page may sign somebody in by a token: our own, and those of the application."""
    if is_own(headers, secure=secure):
        return True
    origins = headers.getlist("origin")
    asked = _origin(origins[0]) if len(origins) == 1 else None
    named = os.environ.get(BACKUP_SIGN_IN_ORIGINS, "").replace(",", " ").split()
    return asked is not None and asked in {_origin(one) for one in named}


def local_path(wanted: str) -> str:
    """The path to go to after signing in: one of this server, or its first page."""
    plain = wanted.isprintable() and "\\" not in wanted and " " not in wanted
    if not plain or not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or parts.path.startswith(("//", "/sign-")):
        return "/"
    return wanted


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; nothing where it is none, such as `null`."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]
