"""What each kind of host needs to be granted on a bucket, and no more, as IAM policies.

docs/operations.md shows them; a test runs a backup, a restore and a prune with nothing else.
"""

from collections.abc import Mapping
from typing import Any, Literal

Host = Literal["backup", "restore", "prune"]

# HEAD and GET need the first; the second makes a missing object 404 instead of 403.
_READ = ("s3:GetObject",)
_LIST = ("s3:ListBucket", "s3:GetBucketLocation")

# s3:PutObject covers every request of a multipart upload but taking it back.
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")

# Whether the bucket locks objects, and until when an object is locked.
_ASK_BUCKET = ("s3:GetBucketObjectLockConfiguration",)
_SEE_LOCKS = ("s3:GetObjectRetention",)
_LOCK = ("s3:PutObjectRetention",)

_CREATE = (
    "s3:CreateBucket",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutLifecycleConfiguration",
    "s3:GetBucketVersioning",
)

# Asked of whoever makes a bucket with Object Lock, which brings versioning with it.
_CREATE_LOCKING = ("s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning")

Policy = Mapping[str, Any]


def of_host(host: Host, bucket: str, prefix: str, *, object_lock: bool = False) -> Policy:
    """The least that a host needs in a bucket that exists.

    Backup and restore hosts may remove only inside `backups/`: what a failed backup or safety
    backup left, which no manifest names. The bucket's versioning keeps what they remove. With
    `object_lock` they lock what they make, and who prunes sees the locks; nobody may bypass them.
    """
    objects = "/".join(filter(None, (bucket, prefix, "*")))
    backups = "/".join(filter(None, (bucket, prefix, "*/backups/*")))
    removable = objects if host == "prune" else backups
    locks = _SEE_LOCKS if host == "prune" else _LOCK + _SEE_LOCKS
    return _policy(
        ("ListTheBucket", _LIST + (_ASK_BUCKET if object_lock else ()), bucket),
        ("ReadAndWriteObjects", _READ + _WRITE, objects),
        ("RemoveObjects", ("s3:DeleteObject",), removable),
        *([("LockBackups", locks, backups)] if object_lock else []),
    )


def to_create(bucket: str, prefix: str, *, object_lock: bool = False) -> Policy:
    """What the first backup needs to make the bucket as well."""
    granted = of_host("backup", bucket, prefix, object_lock=object_lock)
    create = _CREATE + (_CREATE_LOCKING if object_lock else ())
    return {
        "Version": "2012-10-17",
        "Statement": [_statement("CreateTheBucket", create, bucket), *granted["Statement"]],
    }


def _policy(*statements: tuple[str, tuple[str, ...], str]) -> Policy:
    return {"Version": "2012-10-17", "Statement": [_statement(*each) for each in statements]}


def _statement(name: str, actions: tuple[str, ...], resource: str) -> Mapping[str, Any]:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": f"arn:aws:s3:::{resource}",
    }
