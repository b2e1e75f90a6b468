"""S3 as obstore speaks it: endpoint, credentials, certificates and patience, by AWS_* variables.

obstore reads these variables by itself. A store with variables of its own is given every setting
that it could otherwise take from those of the first store, or it is refused.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from backup_pipelines.errors import Refused
from backup_pipelines.storage.variables import USUAL, Variables

# A listening server takes a connection in milliseconds; packets that nobody answers show so.
_CONNECT = "5s"

# At most this long from the first attempt do new ones start. First contact: a wrong endpoint or a
# closed port must show in seconds, since every command begins with a listing. Later: a server that
# asks to slow down or starts anew must not cost a backup of hours.
_FIRST_RETRIES = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2)},
}
_LATER_RETRIES = {
    "max_retries": 12,
    "retry_timeout": timedelta(minutes=2),
    "backoff": {"init_backoff": timedelta(milliseconds=250), "max_backoff": timedelta(seconds=15)},
}

# The time to a first byte counts the sending of the request too: 8 MB in a minute is 1 Mbit/s.
_FIRST_READ, _LATER_READ = "15s", "60s"

# obstore's plain `endpoint` gives way to AWS_ENDPOINT_URL_S3 of the environment.
_ENDPOINT = "aws_endpoint_url_s3"

# Settings of requests that a store with variables of its own gets switched off unless they say so.
_SWITCHES = (
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_SKIP_SIGNATURE",
    "AWS_UNSIGNED_PAYLOAD",
    "AWS_REQUEST_PAYER",
    "AWS_S3_EXPRESS",
)

# Settings that obstore takes from the environment and that nothing switches off again.
_STUBBORN = ("AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID", "AWS_SSE_CUSTOMER_KEY_BASE64")

# Of a whole request: the body of a large object at 1 MB/s. obstore's own 30 s would cut it short.
_WHOLE = "300s"


@dataclass(frozen=True)
class S3:
    """A bucket's two clients, and how people know it."""

    bucket: str
    endpoint: str
    """With its scheme; empty for Amazon's."""
    first: S3Store
    """For the first contact, which fails fast."""
    later: S3Store
    """For a server that has answered before, with patience."""

    @property
    def server(self) -> str:
        """The server's address for people."""
        return self.endpoint or "Amazon S3"


def open_bucket(bucket: str, prefix: str, variables: Variables = USUAL) -> S3:
    """The bucket at the endpoint of AWS_ENDPOINT_URL, else Amazon's; sends nothing yet.

    Raises Refused when a variable is of no use.
    """
    endpoint = endpoint_url(variables)
    options: dict[str, Any] = {"prefix": prefix or None, "region": region(variables)}
    if endpoint:
        options[_ENDPOINT] = endpoint
    # The server stores it with the object, and compares it where it knows how to.
    options["checksum_algorithm"] = variables.get("AWS_CHECKSUM_ALGORITHM") or "SHA256"
    options["credential_provider"] = _profile_credentials(variables)
    if variables.is_own:
        options |= _of_its_own(variables, options)
    client: dict[str, Any] = {
        "connect_timeout": _CONNECT,
        "timeout": _WHOLE,
        "allow_http": endpoint.startswith("http://"),
    }
    authority = ca_bundle(variables)
    if authority is not None:
        client["root_certificate"] = authority.read_bytes()

    def store(retries: Any, read: str) -> S3Store:
        return S3Store(
            bucket,
            client_options=cast("Any", client | {"read_timeout": read}),
            retry_config=retries,
            **options,
        )

    try:
        first = store(_FIRST_RETRIES, _FIRST_READ)
        return S3(bucket, endpoint, first, store(_LATER_RETRIES, _LATER_READ))
    except BaseError as error:
        reason = str(error).strip().splitlines()[0]
        raise Refused(f"the store s3://{bucket} cannot be opened: {reason}") from error


def endpoint_url(variables: Variables = USUAL) -> str:
    """The endpoint that the environment names, or nothing for Amazon's; raises Refused."""
    named = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    parts = urlsplit(named)
    if named and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise Refused(
            f"{variables.name('AWS_ENDPOINT_URL')} {named!r} is no address of a server: write "
            "https://host or http://host:port"
        )
    return named.rstrip("/")


def region(variables: Variables = USUAL) -> str:
    """The region to sign for, Amazon's first unless the environment or the profile names one."""
    named = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
    if named or not _has_profile(variables):
        return named or "us-east-1"
    return session(variables).region_name or "us-east-1"


def ca_bundle(variables: Variables = USUAL) -> Path | None:
    """The file of the authorities to trust besides the system's; raises Refused."""
    for name, value in (
        (variables.name("AWS_CA_BUNDLE"), variables.get("AWS_CA_BUNDLE")),
        ("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")),
    ):
        if value and not Path(value).is_file():
            raise Refused(f"{name} names {value}, which is no file: give the authority's PEM file")
        if value:
            return Path(value)
    return None


def session(variables: Variables = USUAL) -> Any:
    """A session of boto3 with these variables' credentials; raises Refused for none of their own.

    Half a second of import that only profiles and buckets need.
    """
    from boto3.session import Session
    from botocore.exceptions import ProfileNotFound

    profile = variables.get("AWS_PROFILE")
    try:
        if not variables.is_own:
            return Session(botocore_session=_with_models(None))
        if profile:
            return Session(botocore_session=_with_models(profile))
    except ProfileNotFound as error:
        raise Refused(f"{variables.name('AWS_PROFILE')}: {error}") from error
    keys = _keys(variables)
    return Session(
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        aws_session_token=keys["token"],
    )


def _with_models(profile: str | None) -> Any:
    """A session of botocore that need not read again what it knows of the services.

    Raises ProfileNotFound.
    """
    from botocore.session import Session

    session = Session(profile=profile)
    session.get_scoped_config()
    session.register_component("data_loader", _models())
    return session


@cache
def _models() -> Any:
    # A third of a second for each client, and no credentials among it.
    from botocore.loaders import create_loader

    return create_loader()


def _of_its_own(variables: Variables, options: Mapping[str, Any]) -> dict[str, Any]:
    """What keeps obstore from taking the first store's settings for those of another."""
    for name in _STUBBORN:
        if os.environ.get(name) and variables.get(name) != os.environ.get(name):
            raise Refused(
                f"{name} is set, and would be used for the store of {variables.url_env} as well: "
                f"set {variables.name(name)} to the same value, or make it the default of the "
                "first store's bucket and unset it"
            )
    found: dict[str, Any] = {
        name.lower(): variables.get(name).lower() == "true" for name in _SWITCHES
    }
    if options["credential_provider"] is None:
        keys = _keys(variables)
        found["credential_provider"] = lambda: keys
    if _ENDPOINT not in options:
        found[_ENDPOINT] = f"https://s3.{options['region']}.amazonaws.com"
    return found


def _keys(variables: Variables) -> dict[str, Any]:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    missing = [variables.name(name) for name in names if not variables.get(name)]
    if missing:
        raise Refused(
            f"{' and '.join(missing)}: not set, and the store of {variables.url_env} has "
            f"credentials of its own; set {variables.name(names[0])} and "
            f"{variables.name(names[1])}, or {variables.name('AWS_PROFILE')}"
        )
    return {
        "access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
        "token": variables.get("AWS_SESSION_TOKEN") or None,
        "expires_at": None,
    }


def _has_profile(variables: Variables) -> bool:
    """Whether credentials are to come from a file of the AWS command line.

    What else the standard chain has (variables, web identity, containers, the machine's role)
    obstore knows by itself.
    """
    if variables.is_own:
        return bool(variables.get("AWS_PROFILE")) and not variables.get("AWS_ACCESS_KEY_ID")
    known = (
        os.environ.get("AWS_ACCESS_KEY_ID"),
        os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    )
    if any(known):
        return False
    folder = Path.home() / ".aws"
    credentials = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"
    configured = os.environ.get("AWS_CONFIG_FILE") or folder / "config"
    named = os.environ.get("AWS_PROFILE")
    return bool(named) or Path(credentials).is_file() or Path(configured).is_file()


def _profile_credentials(variables: Variables) -> Callable[[], Any] | None:
    if not _has_profile(variables):
        return None
    found = session(variables)
    # The profile may hold a region only, and the keys come from the machine's role.
    if found.get_credentials() is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(found)
