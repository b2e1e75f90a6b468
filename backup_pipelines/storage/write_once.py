"""Objects that are written once, also where the server does not keep that rule.

Servers that honour `If-None-Match: *` refuse the second of two writers, whoever they are. Others
ignore the header and overwrite. Which kind a server is shows by its own answer: the first object
that a process writes is sent twice, with the same bytes, and must be refused the second time.
"""

import secrets

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

NOT_ENFORCED = (
    "the store's server ignores If-None-Match: of two writers of one object at the same moment the "
    "later one wins, and neither is told"
)
"""For people, where `is_enforced` is False."""

# Metadata that tells a retry, whose first attempt did arrive, from another writer's object.
_TOKEN = "write-id"

# S3 answers 409 to one of two writers that race with a removal: nothing need be there then.
_TRIES = 3

_enforced: dict[str, bool] = {}


def is_enforced(place: str) -> bool | None:
    """Whether the server at this place refuses a second write; None while that is not known."""
    return _enforced.get(place)


def put_new(store: S3Store, place: str, key: str, data: bytes) -> None:
    """Write an object that must not exist; raises AlreadyExistsError when it does.

    Where the server ignores the condition, it is looked for before the write: between the two
    another writer is not seen.
    """
    token = secrets.token_hex(8)
    if not is_enforced(place) and there(store, key):
        raise AlreadyExistsError(key)
    for attempt in range(1, _TRIES + 1):
        try:
            _put(store, place, key, data, token)
            break
        except AlreadyExistsError:
            found = _token_of(store, key)
            if found == token:
                break
            if found is not None or attempt == _TRIES:
                raise
    if is_enforced(place) is None:
        _find_out(store, place, key, data, token)


def there(store: S3Store, key: str) -> bool:
    """Whether an object exists."""
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _put(store: S3Store, place: str, key: str, data: bytes, token: str) -> None:
    try:
        obstore.put(store, key, data, mode="create", attributes={_TOKEN: token})
    except BaseError as error:
        # Some servers refuse the header itself.
        if isinstance(error, AlreadyExistsError) or "501 Not Implemented" not in str(error):
            raise
        _enforced[place] = False
        obstore.put(store, key, data, mode="overwrite", attributes={_TOKEN: token})


def _token_of(store: S3Store, key: str) -> str | None:
    """Who wrote an object: its token, or nothing where the object is not there."""
    try:
        found = obstore.get(store, key, options={"head": True}).attributes
    except FileNotFoundError:
        return None
    return str(found.get(_TOKEN, ""))


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
