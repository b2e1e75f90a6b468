"""The bucket itself: made by the first backup, private, or a sentence that says what to grant."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from backup_pipelines.errors import Failed, NoStore, Refused
from backup_pipelines.storage import policies, s3
from backup_pipelines.storage.store import Store

# Parts of broken uploads cost money and show in no listing; no backup uploads for a week.
_ABORT_DAYS = 7

# Seconds for one request, as with the first contact in s3.py.
_CONNECT, _READ = 5, 15

# Regions that a request to create a bucket must not name: Amazon's first, Cloudflare's only one.
_UNNAMED = ("us-east-1", "auto", "")

_PRIVATE = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_LIFECYCLE = {
    "Rules": [
        {
            "ID": "abort-broken-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _ABORT_DAYS},
        }
    ]
}


def ensure(url: str) -> list[str]:
    """Make the bucket of a store's URL if there is none; gives what is left for people to do.

    A bucket that exists is left as it is, and so is a folder. Raises Refused with the policy to
    grant when the bucket may be neither read nor created, and Failed when the server is away.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return []
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = parts.netloc, parts.path.strip("/")
    try:
        client = _client()
        if _exists(client, bucket) or _is_listed(url):
            return []
        _create(client, bucket)
        return [f"created the bucket {bucket}, private", *_settled(client, bucket)]
    except ClientError as error:
        raise _refused(error, bucket, prefix) from error
    except BotoCoreError as error:
        server = s3.endpoint_url() or "Amazon S3"
        reason = " ".join(str(error).split())
        raise Failed(f"the store failed at {url}: {server} cannot be asked ({reason})") from error


def _client() -> Any:
    # obstore knows objects only; this takes half a second to import, on the way to a backup.
    from boto3.session import Session
    from botocore.config import Config

    authority = s3.ca_bundle()
    # Not the module's own session, which keeps the credentials of its first use for good.
    return Session().client(
        "s3",
        endpoint_url=s3.endpoint_url() or None,
        region_name=s3.region(),
        verify=str(authority) if authority else None,
        config=Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"mode": "standard", "max_attempts": 3},
            s3={"addressing_style": "path"} if s3.endpoint_url() else {},
        ),
    )


def _exists(client: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        # 403 is the answer, too, to whoever may list below a prefix only.
        if _status(error) in (403, 404):
            return False
        # In another region, which the store's own client tells better.
        if _status(error) != 301:
            raise
    return True


def _is_listed(url: str) -> bool:
    try:
        Store(url).folders("")
    except (NoStore, Failed):
        return False
    return True


def _create(client: Any, bucket: str) -> None:
    from botocore.exceptions import ClientError

    region = s3.region()
    where: dict[str, Any] = (
        {} if region in _UNNAMED else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    )
    try:
        client.create_bucket(Bucket=bucket, **where)
    except ClientError:
        # Another host's first backup may have been faster.
        if not _exists(client, bucket):
            raise


def _settled(client: Any, bucket: str) -> Iterator[str]:
    """Set what a new bucket of backups needs; gives what the server would not set."""

    def block_public_access() -> None:
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_PRIVATE)

    def abort_broken_uploads() -> None:
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=_LIFECYCLE)

    yield from _tried(block_public_access, f"block all public access to the bucket {bucket}")
    yield from _tried(
        abort_broken_uploads,
        f"set a lifecycle rule on {bucket} that aborts unfinished multipart uploads after "
        f"{_ABORT_DAYS} days",
    )
    yield (
        f"switch versioning on for {bucket}: then nobody who may only write can destroy a backup"
    )


def _tried(change: Callable[[], None], advice: str) -> Iterator[str]:
    from botocore.exceptions import ClientError

    try:
        change()
    except ClientError as error:
        yield f"{advice} by hand: the server refused it ({_code(error)})"


def _refused(error: Any, bucket: str, prefix: str) -> Refused:
    server = s3.endpoint_url() or "Amazon S3"
    begun = f"the bucket {bucket} can be neither read nor created at {server} ({_code(error)})"
    if _code(error) in ("BucketAlreadyExists", "InvalidBucketName"):
        return Refused(f"{begun}: choose another name in BACKUP_STORE_URL")
    policy = json.dumps(policies.to_create(bucket, prefix), indent=2)
    return Refused(
        f"{begun}: check BACKUP_STORE_URL and the AWS_* variables, create the bucket, or grant "
        f"this policy (without its first statement where the bucket exists):\n{policy}"
    )


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))


def _code(error: Any) -> str:
    code = str(error.response["Error"].get("Code", ""))
    return f"{code} Forbidden" if code == "403" else code
