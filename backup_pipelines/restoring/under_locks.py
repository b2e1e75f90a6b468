"""A restore into live tables as somebody asked for it, and its tables, locked and looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.comparison import Mode
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.locks import lock_tables
from backup_pipelines.postgres.sequences import locking
from backup_pipelines.restoring import creating, taking_back
from backup_pipelines.restoring.backup_ddl import BackupDdl
from backup_pipelines.restoring.scene import BACKUP_RULES, Digests, Rules, Scene, look
from backup_pipelines.restoring.selection import Selection
from backup_pipelines.restoring.taking_back import Made
from backup_pipelines.restoring.writing import to_set


@dataclass(frozen=True)
class LiveRestore:
    """A restore into the live database as somebody asked for it."""

    entry: Manifest
    selection: Selection = field(default_factory=Selection)
    mode: Mode = "replace"
    plan_hash: str = ""
    lock_seconds: float = 30.0
    refresh_views: bool = False
    rules: Rules = BACKUP_RULES
    takes_back: tuple[Made, ...] = ()
    """What the restore created that this one undoes: it is dropped."""


def locked_scene(
    connection: Connection,
    ddl: BackupDdl,
    request: LiveRestore,
    *,
    against: Literal["everybody", "writers"],
) -> Scene:
    """Lock the selected tables, and those whose foreign keys to them may have to be lifted."""
    scene = look(connection, request.entry, request.selection, request.rules)
    names = {table.oid: table.identifier for table in scene.live.values()}
    for guard in scene.guards:
        if guard.kind == "foreign owner":
            # It can only be as it should be already, which the proof at the end confirms.
            names.pop(guard.table_oid, None)
    outside: set[int] = set()
    for key in scene.foreign_keys:
        if key.references in scene.live and key.is_ours and key.table_oid not in names:
            names[key.table_oid] = key.table_identifier
            outside.add(key.table_oid)
    going, views = taking_back.locks(connection, request.takes_back)
    names |= going
    tables = frozenset(table.qualified for table in scene.tables)
    positions = to_set(
        connection, request.entry, request.selection, request.mode, tables, wherever=True
    )
    more = {**_more_locks(connection, ddl, request, scene), **views}
    lock_tables(
        connection,
        list(names.values()),
        list(names),
        request.lock_seconds,
        against=against,
        whole=outside,
        then={**locking(connection, positions), **dict(sorted(more.items()))},
    )
    # What was found before the locks may have changed until then.
    return look(connection, request.entry, request.selection, request.rules)


def _more_locks(
    connection: Connection, ddl: BackupDdl, request: LiveRestore, scene: Scene
) -> Mapping[int, sql.Composed]:
    """Locks on tables outside the selection that created tables are tied to."""
    creation = creating.find_missing(
        connection, ddl, request.entry, request.selection, request.rules, scene
    )
    return creation.locks if creation is not None else {}


def is_current(
    digests: Digests,
    scene: Scene,
    safety: Manifest,
    request: LiveRestore,
    goes: Mapping[str, LiveTable],
) -> bool:
    """Whether the locked tables, and those that go, hold exactly what the safety backup has."""
    saved = {table.qualified: table for table in safety.tables}
    locked = {**scene.live, **goes}
    unsaved = sorted(set(locked) - set(saved))
    if unsaved:
        raise Refused(
            f"the safety backup would not hold {', '.join(unsaved)}: give it a module again, or "
            "leave it out of the restore"
        )
    # What has the name of a table that goes, and is another, is refused when it should go.
    named = {one.qualified for one in request.takes_back}
    if set(saved) - set(locked) - named:
        return False
    return all(
        digests.of(live, saved[name]).whole == (saved[name].rows, saved[name].digest)
        for name, live in locked.items()
    )
