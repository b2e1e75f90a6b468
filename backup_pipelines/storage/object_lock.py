"""Object Lock of S3: objects that nobody removes or changes before a date.

A server that does not know it takes the request to lock an object for one to write it (rclone
does): nothing may be locked before the bucket has said that it can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from backup_pipelines.errors import Failed, Refused
from backup_pipelines.storage import bucket, explain, s3
from backup_pipelines.storage.reading import READS_AT_ONCE, read_all
from backup_pipelines.storage.store import Store

Mode = Literal["governance", "compliance"]

_WHAT_TO_DO = (
    "Object Lock can be switched on only when a bucket is made, on most servers, and brings "
    "versioning with it: name a new bucket in the store's URL, which the next backup makes with "
    "it where it may, or take object_lock out of the YAML"
)
_GRANT = 'grant what docs/operations.md lists under "Object Lock"'

_DENIED = ("AccessDenied", "403")
_GONE = ("NoSuchKey", "404")
_SERVER_FAILED = 500
_NOT_IMPLEMENTED = 501

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Lock:
    """Until when an object is locked, and how."""

    mode: Mode
    until: datetime


class Locks:
    """The locks of the objects in a store."""

    def __init__(self, store: Store) -> None:
        """Open them; sends nothing yet, and raises Refused when the store is a folder."""
        parts = urlsplit(store.url)
        if parts.scheme != "s3":
            raise Refused(
                f"{store.url} is a folder, which cannot lock objects: name an S3 bucket with "
                "Object Lock, or take object_lock out of the YAML"
            )
        self._url = store.url
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._server = s3.endpoint_url(store.variables) or "Amazon S3"
        # Once a bucket locks, it does for good.
        self._is_able = False
        self._client = bucket.client(store.variables, READS_AT_ONCE)

    def refuse_unable(self) -> None:
        """Raise Refused, with what to do, unless the bucket locks objects."""
        if self._is_able:
            return
        problem = self._why_unable()
        if problem:
            raise Refused(f"{problem}. {_WHAT_TO_DO}")
        self._is_able = True

    @property
    def is_able(self) -> bool:
        """Whether the bucket locks objects; raises Refused where that may not be asked."""
        return not self._why_unable()

    def of(self, key: str) -> Lock | None:
        """The lock of an object, also one that has ended; None for an object that is not there.

        A host without the right to see locks sees none.
        """
        from botocore.exceptions import ClientError

        def ask() -> Any:
            try:
                return self._client.head_object(Bucket=self._bucket, Key=self._full(key))
            except ClientError as error:
                if bucket.code(error) in _GONE:
                    return {}
                raise

        found = self._explained(key, ask)
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        if mode is None or until is None:
            return None
        return Lock("compliance" if mode == "COMPLIANCE" else "governance", until.astimezone(UTC))

    def lock(self, keys: Sequence[str], mode: Mode, until: datetime) -> int:
        """Lock objects until then at least; returns how many were locked or prolonged.

        A lock is never shortened, nor is compliance ever made governance. Raises Refused, with
        nothing sent to any object, when the bucket does not lock.
        """
        self.refuse_unable()

        def change(key: str) -> bool:
            before = self.of(key)
            if before is not None and before.until <= datetime.now(UTC):
                before = None
            wanted = stronger(Lock(mode, whole_second(until)), before)
            if wanted == before:
                return False
            retention = {"Mode": wanted.mode.upper(), "RetainUntilDate": wanted.until}
            self._explained(
                key,
                lambda: self._client.put_object_retention(
                    Bucket=self._bucket, Key=self._full(key), Retention=retention
                ),
            )
            return True

        return sum(read_all(change, keys))

    def _why_unable(self) -> str:
        from botocore.exceptions import ClientError
        from botocore.parsers import ResponseParserError

        name = f"the bucket {self._bucket} at {self._server}"

        def ask() -> Any:
            try:
                return self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if bucket.code(error) == "ObjectLockConfigurationNotFoundError":
                    return None
                status = bucket.status(error)
                if status == _NOT_IMPLEMENTED or "NotImplemented" in bucket.code(error):
                    return {}
                raise
            except ResponseParserError:
                return {}

        found = self._explained("", ask)
        if found is None:
            return f"{name} was made without Object Lock"
        # A server that does not know the question answers another one.
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            return f"{name} does not lock objects, or its server does not know how"
        return ""

    def _full(self, key: str) -> str:
        return "/".join(filter(None, (self._prefix, key)))

    def _explained(self, key: str, ask: Callable[[], Answer]) -> Answer:
        """The answer, or an error of ours that tells what to do."""
        from botocore.exceptions import BotoCoreError, ClientError

        address = f"{self._url}/{key}"
        try:
            return ask()
        except ClientError as error:
            said = bucket.code(error)
            if said == "NoSuchBucket":
                raise explain.no_bucket(self._bucket, self._server) from error
            if said in _DENIED:
                raise Refused(
                    f"{self._server} refused access to the locks of {address}: {_GRANT}"
                ) from error
            raise Failed(f"the store failed at {address}: {said}") from error
        except BotoCoreError as error:
            reason = " ".join(str(error).split())
            raise Failed(f"the store failed at {address}: {reason}") from error


def stronger(one: Lock, other: Lock | None) -> Lock:
    """The lock that keeps what either of two promises."""
    if other is None:
        return one
    modes: set[Mode] = {one.mode, other.mode}
    mode: Mode = "compliance" if "compliance" in modes else "governance"
    return Lock(mode, max(one.until, other.until))


def whole_second(at: datetime) -> datetime:
    """The first whole second from then on, since servers keep no fractions."""
    down = at.astimezone(UTC).replace(microsecond=0)
    return down if down == at else down + timedelta(seconds=1)
