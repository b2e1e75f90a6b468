"""Which backups are encrypted, to whom, and whether this machine can read them."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial

from backup_pipelines import layout
from backup_pipelines.errors import Damaged, Refused
from backup_pipelines.manifest import DdlSection, Encryption, Manifest, Part
from backup_pipelines.storage import age
from backup_pipelines.storage.age import Recipients
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System

# As the store's: few calls, flat memory.
_PIECE = 4 * 1024 * 1024

BYTES_ONLY = "no identity here opens it: bytes only"
"""What is said of a verification that could not look inside."""


def recipients_of(system: System) -> Recipients | None:
    """The public keys that a system's backups are encrypted to; None where they are not."""
    keys = system.encryption.recipients
    return Recipients(keys) if keys else None


def described(recipients: Recipients | None, backup_id: str) -> Encryption | None:
    """What the manifest of a backup says of its encryption."""
    if recipients is None:
        return None
    return Encryption(recipients=recipients.keys, key_check=recipients.key_check(backup_id))


def is_opened(entry: Manifest) -> bool:
    """Whether this machine can read what the backup holds, by its key check.

    Raises Damaged for a key check that is none.
    """
    found = entry.encryption
    return found is None or age.opens(found.key_check, entry.id)


def closed(entries: Iterable[Manifest]) -> tuple[str, ...] | str | None:
    """Ids of the encrypted backups that the identity here does not open, in their order.

    None without an identity on this machine; a text when that which is set is of no use.
    """
    if not age.has_identity():
        return None
    try:
        age.identities()
    except Refused as error:
        return str(error)
    return tuple(entry.id for entry in entries if not _opens(entry))


def in_words(entry: Manifest) -> str:
    """To whom a backup is encrypted, and whether this machine can read it; empty if to nobody."""
    if entry.encryption is None:
        return ""
    keys = ", ".join(entry.encryption.recipients)
    if not age.has_identity():
        return f"to {keys}; no identity on this machine"
    if isinstance(closed([entry]), str):
        return f"to {keys}; {age.BACKUP_AGE_IDENTITY} on this machine is of no use"
    return f"to {keys}; the identity here {'opens' if _opens(entry) else 'does not open'} it"


def _opens(entry: Manifest) -> bool:
    """Whether it is opened; a key check that is damaged is not."""
    try:
        return is_opened(entry)
    except Damaged:
        return False


def plain_pieces(store: Store, one: Part | DdlSection, advice: str) -> Iterator[bytes]:
    """What an object of a backup holds, decrypted, in pieces.

    Raises Damaged, with the advice, unless it is as its manifest says: of one that is not
    encrypted only at its end. Raises NotOpened without an identity.
    """
    stored = _as_described(store, one, advice)
    if not layout.is_encrypted(one.key):
        yield from stored
        return
    with age.decrypted_file(stored, store.uri(one.key)) as file:
        yield from iter(partial(file.read, _PIECE), b"")


def _as_described(store: Store, one: Part | DdlSection, advice: str) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for chunk in store.chunks(one.key):
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if (size, digest.hexdigest()) != (one.size_bytes, one.sha256):
        raise Damaged(f"{store.uri(one.key)} has other bytes than were written: {advice}")


def refuse_closed(entry: Manifest) -> None:
    """Raise Refused, before anything is read, for a backup that no identity here opens."""
    if is_opened(entry):
        return
    assert entry.encryption is not None
    keys = ", ".join(entry.encryption.recipients)
    said = "holds none of their identities" if age.has_identity() else "is not set on this machine"
    raise Refused(
        f"backup {entry.id} is encrypted to {keys}, and {age.BACKUP_AGE_IDENTITY} {said}: set it "
        "to an identity of theirs or to the path of its file, or do this on the restore host"
    )
