"""Objects that are written once, also where the server does not keep that rule.

Servers that honour `If-None-Match: *` refuse the second of two writers, whoever they are. Others
ignore the header and overwrite. Which kind a server is shows by its own answer: the first object
that a process writes is sent twice, with the same bytes, and must be refused the second time.

Not every server compares what it gets with the checksum that goes with it. So what it answers is
compared: the ETag, which is the MD5 of what came, or else the object itself.
"""

import hashlib
import re
import secrets
from contextlib import suppress

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from backup_pipelines.errors import Failed
from backup_pipelines.storage.attempts import repeated

NOT_ENFORCED = (
    "the store's server ignores If-None-Match: of two writers of one object at the same moment the "
    "later one wins, and neither is told"
)
"""For people, where `is_enforced` is False."""

# Metadata that tells a retry, whose first attempt did arrive, from another writer's object.
_TOKEN = "write-id"

# Servers that encrypt by keys of their own give something else, and so do objects of many parts.
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')

# S3 answers 409 to one of two writers that race with a removal: nothing need be there then.
_TRIES = 3

_enforced: dict[str, bool] = {}


def is_enforced(place: str) -> bool | None:
    """Whether the server at this place refuses a second write; None while that is not known."""
    return _enforced.get(place)


def put_new(store: S3Store, place: str, key: str, data: bytes) -> None:
    """Write an object that must not exist; raises AlreadyExistsError when it does.

    Where the server ignores the condition, it is looked for before the write: between the two
    another writer is not seen. Raises Failed, with nothing left, when other bytes have arrived.
    """
    token = secrets.token_hex(8)
    if not is_enforced(place) and there(store, key):
        raise AlreadyExistsError(key)
    for attempt in range(1, _TRIES + 1):
        try:
            etag = _put(store, place, key, data, token)
            break
        except AlreadyExistsError:
            found, etag = _kept(store, key)
            if found == token:
                break
            if found is not None or attempt == _TRIES:
                raise
    else:
        etag = ""
    _refuse_other_bytes(store, key, data, etag, token)
    if is_enforced(place) is None:
        _find_out(store, place, key, data, token)


def there(store: S3Store, key: str) -> bool:
    """Whether an object exists."""
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _put(store: S3Store, place: str, key: str, data: bytes, token: str) -> str:
    """Write; gives the ETag of what the server has got."""
    try:
        done = repeated(
            lambda: obstore.put(store, key, data, mode="create", attributes={_TOKEN: token})
        )
    except BaseError as error:
        # Some servers refuse the header itself.
        if isinstance(error, AlreadyExistsError) or "501 Not Implemented" not in str(error):
            raise
        _enforced[place] = False
        done = obstore.put(store, key, data, mode="overwrite", attributes={_TOKEN: token})
    return done["e_tag"] or ""


def _kept(store: S3Store, key: str) -> tuple[str | None, str]:
    """Who wrote an object (its token, or nothing where the object is not there), and its ETag."""
    try:
        found = obstore.get(store, key, options={"head": True})
    except FileNotFoundError:
        return None, ""
    return str(found.attributes.get(_TOKEN, "")), found.meta["e_tag"] or ""


def _refuse_other_bytes(store: S3Store, key: str, data: bytes, etag: str, token: str) -> None:
    match = _MD5.fullmatch(etag)
    if match and match[1] == hashlib.md5(data, usedforsecurity=False).hexdigest():
        return
    # Twice: this answer can be hurt on its way as well.
    if data in (bytes(obstore.get(store, key).bytes()) for _ in range(2)):
        return
    if _kept(store, key)[0] != token:
        # Where no condition is kept, another writer's has come after it.
        raise AlreadyExistsError(key)
    # Nobody has relied on it in this moment, and whoever tries again needs the key.
    with suppress(BaseError):
        obstore.delete(store, key)
    raise Failed(
        f"{key} reached the store with other bytes than were sent, and was taken away again: "
        "something on the way to the server changes what it carries"
    )


def _find_out(store: S3Store, place: str, key: str, data: bytes, token: str) -> None:
    try:
        obstore.put(store, key, data, mode="create", attributes={_TOKEN: token})
    except AlreadyExistsError:
        _enforced[place] = True
    except BaseError:
        # The object is written; the next one asks again.
        return
    else:
        _enforced[place] = False
