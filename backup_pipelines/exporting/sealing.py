"""The seal: a manifest is put when all that it names is there, and stays only if it still is.

One system's lock is of one database, and a store can have several: a standby and its primary, or a
second store that `copy` fills while `restore` takes a safety backup there. So leftovers can be
removed by somebody who takes a backup in progress for one of them. They take its marker first and
then look for the manifest; here the manifest is put first, then the marker is looked for: of the
two at least one sees the other.
"""

from contextlib import suppress

from backup_pipelines import layout
from backup_pipelines.errors import BackupError, Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.storage.store import Store


class NotSealed(Failed):
    """The manifest was sent, and nobody knows whether it arrives, or stays."""


class Gone(Failed):
    """Something that the manifest names is not there any more, so there is no manifest."""


def seal(store: Store, entry: Manifest, document: bytes) -> None:
    """Put the manifest of a backup whose marker and objects are all there, before and after.

    Raises Gone where they are not, and there is no manifest then; NotSealed where nobody knows.
    """
    key = layout.manifest_key(entry.system, entry.id)
    if said := _gone(store, entry):
        raise Gone(said)
    _put(store, key, document)
    try:
        said = _gone(store, entry)
        if said:
            store.delete([key])
    except BackupError as error:
        raise NotSealed(
            f"the manifest {store.uri(key)} was written, and what it names could not be looked at "
            f"once more: {error}; verify backup {entry.id} before you rely on it"
        ) from error
    if said:
        raise Gone(said)


def _put(store: Store, key: str, document: bytes) -> None:
    try:
        store.put_new(key, document)
    except BackupError as error:
        with suppress(BackupError):
            if store.get(key) == document:
                return
        raise NotSealed(
            f"the backup could not be sealed: {error}; its objects are left, for a manifest that "
            "still arrives would need them: else the next backup removes them"
        ) from error


def _gone(store: Store, entry: Manifest) -> str:
    """What is missing, or has another size, of a backup that is not sealed; empty if nothing."""
    named = {one.key: one.size_bytes for one in entry.objects}
    holders = {entry.id, *(layout.backup_id_of(entry.system, key) for key in named)}
    # One listing for each folder, and not a request for each object.
    there = {
        item.key: item.size_bytes
        for holder in sorted(holders)
        for item in store.objects(layout.backup_prefix(entry.system, holder))
    }
    gone = [key for key, size in named.items() if there.get(key) != size]
    marker = layout.started_key(entry.system, entry.id)
    if marker not in there:
        gone.insert(0, marker)
    if not gone:
        return ""
    more = f" (and {len(gone) - 1:,} more of its objects)" if len(gone) > 1 else ""
    return (
        f"backup {entry.id} is not complete: {store.uri(gone[0])}{more} is not there as it was "
        "written, which happens when somebody takes it for the leftovers of a killed one; see what "
        "else works on this store, and start again"
    )
