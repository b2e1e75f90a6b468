"""The bucket itself: made by the first backup, private, or a sentence that says what to grant."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from backup_pipelines.errors import Failed, NoStore, Refused
from backup_pipelines.storage import policies, s3
from backup_pipelines.storage.store import Store
from backup_pipelines.storage.variables import USUAL, Variables

# Parts of broken uploads cost money and show in no listing; no backup uploads for a week.
_ABORT_DAYS = 7

# Time to notice that somebody has removed backups, and to bring them back.
_OLD_DAYS = 30

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


def ensure(url: str, variables: Variables = USUAL, *, object_lock: bool = False) -> list[str]:
    """Make the bucket of a store's URL if there is none; gives what is left for people to do.

    With `object_lock` it is made so that its objects can be locked. A bucket that exists is left
    as it is, and so is a folder. Raises Refused with the policy to grant when the bucket may be
    neither read nor created, and Failed when the server is away.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return []
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = parts.netloc, parts.path.strip("/")
    try:
        asked = client(variables)
        if _exists(asked, bucket) or _is_listed(url, variables):
            return []
        _create(asked, bucket, s3.region(variables), object_lock=object_lock)
        made = f"created the bucket {bucket}, private" + ", with Object Lock" * object_lock
        return [made, *_settled(asked, bucket, object_lock=object_lock)]
    except ClientError as error:
        raise _refused(error, bucket, prefix, variables, object_lock=object_lock) from error
    except BotoCoreError as error:
        server = s3.endpoint_url(variables) or "Amazon S3"
        reason = " ".join(str(error).split())
        raise Failed(f"the store failed at {url}: {server} cannot be asked ({reason})") from error


def client(variables: Variables = USUAL, at_once: int = 1) -> Any:
    """boto3's client for what obstore does not know, for so many requests at once.

    Half a second of import, on the way to a backup.
    """
    from botocore.config import Config

    authority, endpoint = s3.ca_bundle(variables), s3.endpoint_url(variables)
    # Not boto3's own session, which keeps the credentials of its first use for good.
    return s3.session(variables).client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=s3.region(variables),
        # Unset, it would be what AWS_CA_BUNDLE names.
        verify=str(authority) if authority else (variables.is_own or None),
        config=Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            max_pool_connections=at_once,
            retries={"mode": "standard", "max_attempts": 3},
            s3={"addressing_style": "path"} if endpoint else {},
            # Those of the first store are no way to another.
            ignore_configured_endpoint_urls=variables.is_own,
        ),
    )


def _exists(client: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        # 403 is the answer, too, to whoever may list below a prefix only.
        if status(error) in (403, 404):
            return False
        # In another region, which the store's own client tells better.
        if status(error) != 301:
            raise
    return True


def _is_listed(url: str, variables: Variables) -> bool:
    try:
        Store(url, variables).folders("")
    except (NoStore, Failed):
        return False
    return True


def _create(client: Any, bucket: str, region: str, *, object_lock: bool) -> None:
    from botocore.exceptions import ClientError

    where: dict[str, Any] = (
        {} if region in _UNNAMED else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    )
    if object_lock:
        where["ObjectLockEnabledForBucket"] = True
    try:
        client.create_bucket(Bucket=bucket, **where)
    except ClientError:
        # Another host's first backup may have been faster.
        if not _exists(client, bucket):
            raise


def _settled(client: Any, bucket: str, *, object_lock: bool) -> Iterator[str]:
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
    rule = (
        f"let a lifecycle rule remove its old versions (NoncurrentVersionExpiration, {_OLD_DAYS} "
        "days, and ExpiredObjectDeleteMarker), which is what pruned objects become"
    )
    if object_lock:
        yield f"for the room in {bucket}, {rule}"
    else:
        yield (
            f"switch versioning on for {bucket}: then nobody who may only write can destroy a "
            f"backup; and {rule}"
        )


def _tried(change: Callable[[], None], advice: str) -> Iterator[str]:
    from botocore.exceptions import ClientError

    try:
        change()
    except ClientError as error:
        yield f"{advice} by hand: the server refused it ({code(error)})"


def _refused(
    error: Any, bucket: str, prefix: str, variables: Variables, *, object_lock: bool
) -> Refused:
    server = s3.endpoint_url(variables) or "Amazon S3"
    begun = f"the bucket {bucket} can be neither read nor created at {server} ({code(error)})"
    if code(error) in ("BucketAlreadyExists", "InvalidBucketName"):
        return Refused(f"{begun}: choose another name in {variables.url_env}")
    policy = json.dumps(policies.to_create(bucket, prefix, object_lock=object_lock), indent=2)
    return Refused(
        f"{begun}: check {variables.url_env} and the {variables.name('AWS_')}* variables, create "
        "the bucket, or grant this policy (without its first statement where the bucket exists):\n"
        f"{policy}"
    )


def status(error: Any) -> int:
    """The HTTP status of a refused request."""
    return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))


def code(error: Any) -> str:
    """The server's code for why it refused a request."""
    code = str(error.response["Error"].get("Code", ""))
    return f"{code} Forbidden" if code == "403" else code
