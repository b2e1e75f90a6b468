"""Who somebody is, and which role that gives: passwords, signatures, tokens, a table of roles."""

import base64
import hashlib
import hmac
import http.server
import json
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from backup_pipelines.access import deciding, identity, tokens, users
from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import AUTOMATIC, NEEDS, Role, needed
from backup_pipelines.demo.databases import Demo
from backup_pipelines.errors import NotAllowed, NotFound, Refused
from backup_pipelines.system import System

_SECRET = "the application's own secret, of these tests"
_PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key and a file of users of the test's own, and no way to sign in by a token."""
    monkeypatch.setenv(identity.BACKUP_ACCESS_KEY, "k" * 32)
    monkeypatch.setenv(users.BACKUP_USERS_FILE, str(tmp_path / "users.yaml"))
    for name in (tokens.BACKUP_JWT_SECRET, tokens.BACKUP_JWKS_URL, tokens.BACKUP_JWT_ISSUER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(tokens.BACKUP_JWT_AUDIENCE, "authenticated")


def test_a_user_signs_in_by_the_password_of_the_day() -> None:
    """A new password ends what the old one began, and so does the removal."""
    assert users.add("Ada@Example.com", _PASSWORD)
    first = users.check("ada@example.COM", _PASSWORD)
    assert first is not None
    assert (first.name, first.via) == ("Ada@Example.com", "password")
    assert users.check("ada@example.com", _PASSWORD + " ") is None
    assert users.check("eve", _PASSWORD) is None
    assert users.is_current(first)
    assert not users.add("Ada@Example.com", "another horse battery")
    assert not users.is_current(first)
    second = users.check("ada@example.com", "another horse battery")
    assert second is not None and users.is_current(second)
    users.remove("Ada@Example.com")
    assert not users.is_current(second)
    assert users.names() == []
    with pytest.raises(NotFound, match="there is no user ada; there are none"):
        users.remove("ada")


def test_the_file_of_users_is_for_its_owner_and_holds_no_password() -> None:
    """Hashes only, with a salt each."""
    users.add("ada", _PASSWORD)
    users.add("eve", _PASSWORD)
    assert stat.S_IMODE(users.path().stat().st_mode) == 0o600
    text = users.path().read_text()
    assert _PASSWORD not in text
    hashes = {line.split()[-1] for line in text.splitlines() if "$argon2id$" in line}
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["", " ", " ada", "*", "schedule", "OS:root", "app:x", "a\nb"])
def test_some_names_are_nobody_s(name: str) -> None:
    """Those of whoever is no person, and those that cannot be typed."""
    with pytest.raises(Refused, match="is no name to sign in by"):
        users.add(name, _PASSWORD)


@pytest.mark.parametrize(
    ("admin", "somebody"), [("strasse", "stra\u00dfe"), ("kim", "\u212aim"), ("i", "\u0130")]
)
def test_names_that_only_look_alike_are_two_people(admin: str, somebody: str) -> None:
    """Unicode takes the one for a capital of the other; a token of the application may bear it."""
    some = system(admins=[admin])
    assert deciding.role_of(some, Identity(admin.upper(), "token")) is Role.ADMIN
    assert deciding.role_of(some, Identity(somebody, "token")) is Role.NOBODY
    users.add(admin, _PASSWORD)
    assert users.check(admin.upper(), _PASSWORD) is not None
    assert users.check(somebody, _PASSWORD) is None


@pytest.mark.parametrize("password", ["", "short", "x" * 14, "x" * 1001])
def test_a_short_password_is_refused(password: str) -> None:
    """One that is endless, too."""
    with pytest.raises(Refused, match="at least 15 characters"):
        users.add("ada", password)


@pytest.mark.parametrize("text", ["[", "users: [ada]", "users: {ada: 1}", "- a"])
def test_a_broken_file_of_users_lets_nobody_in(text: str) -> None:
    """It is an error, and not an empty list."""
    users.path().write_text(text)
    with pytest.raises(Refused, match=r"users\.yaml is no"):
        users.check("ada", _PASSWORD)


def test_a_signature_is_good_for_its_purpose_alone() -> None:
    """A session is no request, one run is not another, and names come back whole."""
    who = Identity("ada", "token", "4711")
    signed = identity.sign(who, identity.run_purpose("1"))
    assert identity.read(signed, identity.run_purpose("1")) == who
    for purpose in (identity.run_purpose("2"), identity.SESSION, identity.REQUEST):
        with pytest.raises(Refused, match="is not signed by"):
            identity.read(signed, purpose)
    late = identity.sign(who, identity.SESSION, timedelta(seconds=-1))
    with pytest.raises(Refused, match="the sign-in has ended"):
        identity.read(late, identity.SESSION)


def test_a_signature_by_another_key_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the algorithm `none`, too; a short key is no key."""
    claims = {"aud": "session", "iat": datetime.now(UTC), "name": "a", "via": "os", "subject": ""}
    for forged in (
        jwt.encode(claims, "x" * 32, algorithm="HS256"),
        jwt.encode(claims, "k" * 32, algorithm="HS512"),
        jwt.encode(claims, None, algorithm="none"),
        "",
        "a.b.c",
    ):
        with pytest.raises(Refused, match="is not signed by"):
            identity.read(forged, "session")
    for odd in ({"via": "root"}, {"name": 1}, {"subject": None}):
        with pytest.raises(Refused, match="names nobody"):
            identity.read(jwt.encode({**claims, **odd}, "k" * 32, algorithm="HS256"), "session")
    monkeypatch.setenv(identity.BACKUP_ACCESS_KEY, "k" * 31)
    with pytest.raises(Refused, match="is too short: set the same random text"):
        identity.key()
    monkeypatch.delenv(identity.BACKUP_ACCESS_KEY)
    with pytest.raises(Refused, match="is not set: set the same random text"):
        identity.sign(Identity("a", "os"), "session")


def claims_of(**others: object) -> dict[str, Any]:
    """What a token of the application says."""
    said = {"sub": "4711", "email": "ada@example.com", "aud": "authenticated"}
    found = {**said, "exp": datetime.now(UTC) + timedelta(minutes=5), **others}
    return {name: value for name, value in found.items() if value is not None}


_BAD: Mapping[str, tuple[Mapping[str, object], str]] = {
    "expired": ({"exp": datetime.now(UTC) - timedelta(minutes=1)}, "the token has expired"),
    "for ever": ({"exp": None}, "is not good here"),
    "of another audience": ({"aud": "anon"}, "is not good here"),
    "of no audience": ({"aud": None}, "is not good here"),
    "of nobody": ({"sub": None}, "is not good here"),
    "not yet": ({"nbf": datetime.now(UTC) + timedelta(minutes=5)}, "is not good here"),
    "anonymous": ({"is_anonymous": True}, "anonymous user"),
    "of the daemon": ({"email": "Schedule"}, "names nobody by a name that can be used"),
    "of a user of the machine": ({"email": "os:root"}, "names nobody by a name that can be used"),
    "of an odd name": ({"email": "a\nb"}, "names nobody by a name that can be used"),
}


@pytest.mark.parametrize("why", sorted(_BAD))
def test_a_token_of_the_application_must_be_good(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Signed by the shared secret, for us, for now, and of somebody."""
    monkeypatch.setenv(tokens.BACKUP_JWT_SECRET, _SECRET)
    good = jwt.encode(claims_of(), _SECRET, algorithm="HS256")
    assert tokens.verify(good) == Identity("ada@example.com", "token", "4711")
    others, said = _BAD[why]
    with pytest.raises(Refused, match=said):
        tokens.verify(jwt.encode(claims_of(**others), _SECRET, algorithm="HS256"))


def test_an_address_that_nobody_has_checked_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the id that lists can name."""
    monkeypatch.setenv(tokens.BACKUP_JWT_SECRET, _SECRET)
    for odd in ({"email_verified": False}, {"email_verified": "true"}, {"email": None}):
        token = jwt.encode(claims_of(**odd), _SECRET, algorithm="HS256")
        assert tokens.verify(token).name == "4711"


def test_tokens_by_none_or_by_another_secret_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything is, where no way to check them is named, or two are."""
    monkeypatch.setenv(tokens.BACKUP_JWT_SECRET, _SECRET)
    for forged in (
        jwt.encode(claims_of(), None, algorithm="none"),
        jwt.encode(claims_of(), "x" * 40, algorithm="HS256"),
        "nonsense",
        "",
    ):
        with pytest.raises(Refused, match="is not good here"):
            tokens.verify(forged)
    good = jwt.encode(claims_of(), _SECRET, algorithm="HS256")
    monkeypatch.setenv(tokens.BACKUP_JWKS_URL, "https://example.com/jwks")
    with pytest.raises(Refused, match="set one of them"):
        tokens.verify(good)
    with pytest.raises(Refused, match="set one of them"):
        tokens.check_settings()
    monkeypatch.delenv(tokens.BACKUP_JWKS_URL)
    monkeypatch.delenv(tokens.BACKUP_JWT_AUDIENCE)
    for check in (tokens.check_settings, lambda: tokens.verify(good)):
        with pytest.raises(Refused, match="BACKUP_JWT_AUDIENCE is not set"):
            check()
    monkeypatch.delenv(tokens.BACKUP_JWT_SECRET)
    monkeypatch.setenv(tokens.BACKUP_JWT_AUDIENCE, "authenticated")
    assert not tokens.are_taken()
    with pytest.raises(Refused, match="no tokens are taken here"):
        tokens.verify(good)


_KEYS: Mapping[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
}


@pytest.fixture
def published() -> Iterator[str]:
    """The application's keys, published by a web server as JSON Web Keys."""
    found: list[Any] = []
    for algorithm, key in _KEYS.items():
        kind = jwt.algorithms.get_default_algorithms()[algorithm]
        said = json.loads(kind.to_jwk(key.public_key()))
        found.append({**said, "kid": algorithm, "alg": algorithm, "use": "sig"})
    body = json.dumps({"keys": found}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()


@pytest.mark.parametrize("algorithm", sorted(_KEYS))
def test_tokens_by_published_keys_are_taken(
    monkeypatch: pytest.MonkeyPatch, published: str, algorithm: str
) -> None:
    """By the key that the token names; not by another, nor by a public key taken for a secret."""
    monkeypatch.setenv(tokens.BACKUP_JWKS_URL, published)
    tokens.check_settings()
    headers = {"kid": algorithm}
    good = jwt.encode(claims_of(), _KEYS[algorithm], algorithm=algorithm, headers=headers)
    assert tokens.verify(good).subject == "4711"
    other = next(name for name in _KEYS if name != algorithm)
    for wrong in (
        jwt.encode(claims_of(), _KEYS[algorithm], algorithm=algorithm, headers={"kid": other}),
        jwt.encode(claims_of(), _KEYS[algorithm], algorithm=algorithm, headers={"kid": "none"}),
        jwt.encode(claims_of(), _KEYS[algorithm], algorithm=algorithm),
        jwt.encode(claims_of(), None, algorithm="none", headers=headers),
        by_public_key(algorithm),
    ):
        with pytest.raises(Refused, match="is not good here"):
            tokens.verify(wrong)


def by_public_key(algorithm: str) -> str:
    """A token signed by the text of the public key, as if it were a shared secret."""
    text = (
        _KEYS[algorithm]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {**claims_of(), "exp": int(claims_of()["exp"].timestamp())}
    head = json.dumps({"alg": "HS256", "typ": "JWT", "kid": algorithm}).encode()
    signed = part(head) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(text, signed, hashlib.sha256))).decode()


def test_keys_that_cannot_be_read_let_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are they read over a network in plain."""
    token = jwt.encode(claims_of(), _KEYS["RS256"], algorithm="RS256", headers={"kid": "RS256"})
    monkeypatch.setenv(tokens.BACKUP_JWKS_URL, "http://127.0.0.1:1/jwks")
    with pytest.raises(Refused, match="cannot be read: see that it answers"):
        tokens.verify(token)
    monkeypatch.setenv(tokens.BACKUP_JWKS_URL, "http://keys.example.com/jwks")
    with pytest.raises(Refused, match="is no https:// address"):
        tokens.check_settings()


def system(**more: object) -> System:
    """A system whose roles are asked for."""
    said: dict[str, object] = {
        "system": "dcim",
        "database_url_env": "DCIM_DATABASE_URL",
        "modules": {"all": {"tables": ["servers"]}},
        "access": "enforced",
        "admins": ["boss", "os:root"],
        "viewers": [],
    }
    return System.model_validate({**said, **more})


_TABLE = {
    "table": "public.user_roles",
    "user_column": "user_id",
    "role_column": "role",
    "admins": ["super_admin"],
    "viewers": ["viewer"],
}


@pytest.fixture
def members(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The id of a user of the sample application by the role that its own table says."""
    import psycopg

    demo.ensure_system("dcim")
    monkeypatch.setenv("DCIM_DATABASE_URL", demo.reader_url("dcim"))

    def of(role: str) -> str:
        with psycopg.connect(demo.reader_url("dcim")) as connection:
            found = connection.execute(
                "SELECT user_id::text FROM public.user_roles WHERE role::text = %s LIMIT 1", [role]
            ).fetchone()
        assert found is not None
        return str(found[0])

    return of


def test_roles_of_the_application_are_looked_up_by_the_id_in_the_token(
    members: Callable[[str], str],
) -> None:
    """For tokens alone: a name that signs in by a password says nothing about the application."""
    dcim = system(roles_from=_TABLE)
    boss = members("super_admin")
    assert deciding.role_of(dcim, Identity("x", "token", boss)) is Role.ADMIN
    assert deciding.role_of(dcim, Identity("x", "token", members("viewer"))) is Role.VIEWER
    for other in (
        Identity("x", "token", "00000000-0000-0000-0000-000000000000"),
        Identity("x", "token", "' OR true --"),
        Identity("x", "token", ""),
        Identity("x", "password", boss),
        Identity("x", "app", boss),
    ):
        assert deciding.role_of(dcim, other) is Role.NOBODY, other


def test_row_security_of_the_table_is_an_error_and_no_missing_role(
    members: Callable[[str], str], demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden rows would make an admin nobody, or a former one somebody; lists need no table."""
    import psycopg

    boss = members("super_admin")
    url = demo.owner_url("dcim")
    monkeypatch.setenv("ROLES_URL", url)
    dcim = system(roles_from={**_TABLE, "database_url_env": "ROLES_URL"})
    assert deciding.role_of(dcim, Identity("x", "token", boss)) is Role.ADMIN
    monkeypatch.setenv("ROLES_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Refused, match=r"roles of dcim cannot be read from public\.user_roles"):
        deciding.role_of(dcim, Identity("x", "token", boss))
    assert deciding.role_of(dcim, Identity("boss", "token", boss)) is Role.ADMIN
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("ALTER TABLE public.user_roles FORCE ROW LEVEL SECURITY")
        try:
            monkeypatch.setenv("ROLES_URL", url)
            with pytest.raises(Refused, match="cannot be read"):
                deciding.role_of(dcim, Identity("x", "token", boss))
        finally:
            owner.execute("ALTER TABLE public.user_roles NO FORCE ROW LEVEL SECURITY")


@pytest.mark.parametrize("operation", sorted(NEEDS))
def test_each_operation_needs_its_role(operation: str) -> None:
    """Whoever has less is told what it needs, and whom to ask."""
    some = system(admins=["ada"], operators=["olga"], viewers=["*"])
    least = needed(operation)
    for name, role in (("ada", Role.ADMIN), ("OLGA", Role.OPERATOR), ("eve", Role.VIEWER)):
        who = Identity(name, "password")
        assert deciding.role_of(some, who) is role
        if role >= least:
            deciding.require(some, operation, who)
            continue
        with pytest.raises(NotAllowed, match=f"{operation} needs an {least}: ask ada"):
            deciding.require(some, operation, who)
    with pytest.raises(NotAllowed, match="nobody has signed for this"):
        deciding.require(some, operation, None)
    if operation in AUTOMATIC:
        deciding.require(some, operation, identity.of_schedule())
    else:
        with pytest.raises(NotAllowed, match="a person must"):
            deciding.require(some, operation, identity.of_schedule())


def test_what_is_not_known_needs_an_admin() -> None:
    """An operation of a later version is no loophole."""
    assert needed("something new") is Role.ADMIN


def test_open_access_asks_for_nobody() -> None:
    """As it was before there were roles."""
    opened = system(access="open", admins=[])
    deciding.require(opened, "restore", None)
    assert deciding.role_of(opened, None) is Role.ADMIN
