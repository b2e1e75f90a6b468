"""The application's own tokens (JSON Web Tokens), as proof of who somebody is.

Supabase, Auth0, Keycloak and authenticating proxies sign them with a shared secret or with a key
that they publish (RFC 7519, RFC 7517).
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backup_pipelines.access.identity import Identity, is_reserved
from backup_pipelines.errors import Refused

if TYPE_CHECKING:
    from jwt import PyJWKClient

BACKUP_JWT_SECRET = "BACKUP_JWT_SECRET"
BACKUP_JWKS_URL = "BACKUP_JWKS_URL"
BACKUP_JWT_AUDIENCE = "BACKUP_JWT_AUDIENCE"
BACKUP_JWT_ISSUER = "BACKUP_JWT_ISSUER"
BACKUP_ACCESS_TOKEN = "BACKUP_ACCESS_TOKEN"

_SHARED = ["HS256", "HS384", "HS512"]
# Never those of a shared secret: a published key must not be taken for one.
_PUBLISHED = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]

# RFC 7518, section 3.2: a shorter one can be found out from a single token.
_SECRET_BYTES = 32

# Clocks of two machines differ.
_SKEW_SECONDS = 30
_FETCH_SECONDS = 5

_LONGEST_NAME = 200
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def are_taken() -> bool:
    """Whether tokens are a way to sign in here."""
    return bool(os.environ.get(BACKUP_JWT_SECRET) or os.environ.get(BACKUP_JWKS_URL))


def check_settings() -> None:
    """Raise Refused where tokens are to be taken and the variables are not all there."""
    if os.environ.get(BACKUP_JWT_SECRET) and os.environ.get(BACKUP_JWKS_URL):
        raise Refused(f"both {BACKUP_JWT_SECRET} and {BACKUP_JWKS_URL} are set: set one of them")
    url = os.environ.get(BACKUP_JWKS_URL)
    if url:
        _published(url)
    _audience()


def verify(token: str) -> Identity:
    """Who holds the token; raises Refused when it is not good, and says why."""
    import jwt

    audience, issuer = _audience(), os.environ.get(BACKUP_JWT_ISSUER) or None
    try:
        key, algorithms = _key_for(token)
        claims = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=audience,
            issuer=issuer,
            leeway=_SKEW_SECONDS,
            options={"require": ["exp", "sub", "aud"]},
        )
    except jwt.PyJWKClientConnectionError as error:
        raise Refused(f"the keys of {BACKUP_JWKS_URL} cannot be read: see that it answers") from (
            error
        )
    except jwt.ExpiredSignatureError as error:
        raise Refused("the token has expired: sign in to the application again") from error
    # Other errors of a key set are none of InvalidTokenError; the others are of a token that names
    # a key of another kind than it was signed by.
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise Refused(f"the token is not good here ({error}): sign in to the application") from (
            error
        )
    return _identity(claims)


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject, email = str(claims["sub"]), claims.get("email")
    if claims.get("is_anonymous"):
        raise Refused("the token is one of an anonymous user: sign in to the application by name")
    # Whose address it is must have been checked by somebody.
    known = isinstance(email, str) and email and claims.get("email_verified", True) is True
    name = str(email) if known else subject
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or is_reserved(name):
        raise Refused("the token names nobody by a name that can be used here")
    return Identity(name, "token", subject)


def _key_for(token: str) -> tuple[Any, list[str]]:
    secret, url = os.environ.get(BACKUP_JWT_SECRET), os.environ.get(BACKUP_JWKS_URL)
    if secret and url:
        raise Refused(f"both {BACKUP_JWT_SECRET} and {BACKUP_JWKS_URL} are set: set one of them")
    if url:
        return _published(url).get_signing_key_from_jwt(token).key, _PUBLISHED
    if not secret:
        raise Refused(
            f"no tokens are taken here: set {BACKUP_JWT_SECRET} or {BACKUP_JWKS_URL} to what the "
            "application signs them with"
        )
    if len(secret.encode()) < _SECRET_BYTES:
        raise Refused(
            f"{BACKUP_JWT_SECRET} is too short to be one: at least {_SECRET_BYTES} characters"
        )
    return secret, _SHARED


@cache
def _published(url: str) -> "PyJWKClient":
    import jwt

    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise Refused(f"{BACKUP_JWKS_URL} is no https:// address: whoever is between could forge")
    return jwt.PyJWKClient(url, cache_keys=True, timeout=_FETCH_SECONDS)


def _audience() -> str:
    audience = os.environ.get(BACKUP_JWT_AUDIENCE, "")
    if not audience:
        raise Refused(
            f"{BACKUP_JWT_AUDIENCE} is not set: set it to the `aud` of the application's tokens, "
            "which is authenticated with Supabase"
        )
    return audience
