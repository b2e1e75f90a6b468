"""S3 as obstore speaks it: endpoint, credentials, certificates and patience, by AWS_* variables."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from backup_pipelines.errors import Refused

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


def open_bucket(bucket: str, prefix: str) -> S3:
    """The bucket at the endpoint of AWS_ENDPOINT_URL, else Amazon's; sends nothing yet.

    Raises Refused when a variable is of no use.
    """
    endpoint = endpoint_url()
    options: dict[str, Any] = {"prefix": prefix or None, "region": region()}
    if endpoint:
        options["endpoint"] = endpoint
    # The server stores it with the object, and compares it where it knows how to.
    options["checksum_algorithm"] = os.environ.get("AWS_CHECKSUM_ALGORITHM") or "SHA256"
    options["credential_provider"] = _profile_credentials()
    client: dict[str, Any] = {
        "connect_timeout": _CONNECT,
        "timeout": _WHOLE,
        "allow_http": endpoint.startswith("http://"),
    }
    authority = ca_bundle()
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


def endpoint_url() -> str:
    """The endpoint that the environment names, or nothing for Amazon's; raises Refused."""
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    parts = urlsplit(named)
    if named and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise Refused(
            f"AWS_ENDPOINT_URL {named!r} is no address of a server: write https://host or "
            "http://host:port"
        )
    return named.rstrip("/")


def region() -> str:
    """The region to sign for, Amazon's first unless the environment or the profile names one."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named or not _has_profile():
        return named or "us-east-1"
    return _session().region_name or "us-east-1"


def ca_bundle() -> Path | None:
    """The file of the authorities to trust besides the system's; raises Refused."""
    for name, value in (
        ("AWS_CA_BUNDLE", os.environ.get("AWS_CA_BUNDLE")),
        ("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")),
    ):
        if value and not Path(value).is_file():
            raise Refused(f"{name} names {value}, which is no file: give the authority's PEM file")
        if value:
            return Path(value)
    return None


def _has_profile() -> bool:
    """Whether credentials are to come from a file of the AWS command line.

    What else the standard chain has (variables, web identity, containers, the machine's role)
    obstore knows by itself.
    """
    variables = (
        os.environ.get("AWS_ACCESS_KEY_ID"),
        os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    )
    if any(variables):
        return False
    folder = Path.home() / ".aws"
    credentials = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"
    configured = os.environ.get("AWS_CONFIG_FILE") or folder / "config"
    named = os.environ.get("AWS_PROFILE")
    return bool(named) or Path(credentials).is_file() or Path(configured).is_file()


def _session() -> Any:
    # Half a second of import that only profiles need.
    from boto3.session import Session
    from botocore.exceptions import ProfileNotFound

    try:
        return Session()
    except ProfileNotFound as error:
        raise Refused(f"AWS_PROFILE: {error}") from error


def _profile_credentials() -> Callable[[], Any] | None:
    if not _has_profile():
        return None
    session = _session()
    # The profile may hold a region only, and the keys come from the machine's role.
    if session.get_credentials() is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(session)
