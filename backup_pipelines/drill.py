"""Drills: a backup restored into a scratch database, compared by digest, timed, and dropped."""

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict

from backup_pipelines import encryption, layout
from backup_pipelines.errors import Refused
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import Connection, as_failed, connected, describe
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring.load import load
from backup_pipelines.storage.store import Store

_SCRATCH_PREFIX = "backup_drill_"


class DrillResult(BaseModel):
    """The record of a drill that passed, as it is kept in the store."""

    model_config = ConfigDict(frozen=True)

    system: str
    backup_id: str
    at: datetime
    tables: int
    rows: int
    seconds: float
    seconds_by_module: dict[str, float]
    seconds_by_step: dict[str, float]
    skipped: tuple[str, ...]
    server_version: int
    encrypted: bool = False
    """Then the identity of that machine opened every object."""
    key: str


def run_drill(
    store: Store, entry: Manifest, server_url: str, *, report: Callable[[str], None]
) -> DrillResult:
    """Restore `entry` into a scratch database of the server, prove every digest, drop it.

    Raises NotEqual when any table differs and Failed when it cannot be loaded.
    """
    at = datetime.now(UTC)
    encryption.refuse_closed(entry)
    broken_off = as_failed(f"the drill of {entry.id} broke off")
    with broken_off, connected(server_url, what="the drill's server") as server:
        version = describe(server)
        if version.major < entry.server_version // 10000:
            raise Refused(
                f"the drill's server is PostgreSQL {version.major}, older than the backup's "
                f"{entry.server_version // 10000}; name a newer one in drill.server_url_env"
            )
        _drop_leftovers(server)
        with _scratch_database(server, server_url) as url, connected(url) as connection:
            loaded = load(connection, store, entry, report)
    result = DrillResult(
        system=entry.system,
        backup_id=entry.id,
        at=at,
        tables=loaded.tables,
        rows=loaded.rows,
        seconds=round(loaded.seconds, 3),
        seconds_by_module={m: round(s, 3) for m, s in loaded.seconds_by_module.items()},
        seconds_by_step=loaded.seconds_by_step,
        skipped=loaded.skipped,
        server_version=version.version,
        encrypted=entry.encryption is not None,
        key=layout.drill_key(entry.system, entry.id, at.strftime("%Y%m%dT%H%M%S%fZ")),
    )
    store.put_new(result.key, result.model_dump_json(indent=1).encode())
    return result


def last_drill(store: Store, system: str) -> DrillResult | None:
    """The newest drill that passed, or None."""
    keys = [found.key for found in store.objects(layout.drills_prefix(system))]
    if not keys:
        return None
    newest = max(keys, key=lambda key: key.rsplit("/", 1)[-1])
    return DrillResult.model_validate_json(store.get(newest))


@contextmanager
def _scratch_database(server: Connection, server_url: str) -> Generator[str]:
    name = f"{_SCRATCH_PREFIX}{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    # Held from before the database exists: a killed drill loses it, and the next one cleans up.
    server.execute("SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtext(%s))", [name])
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(identifier)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier)
    try:
        server.execute(create)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            "the role of the drill's server may not create databases: let it (ALTER ROLE ... "
            "CREATEDB), or name another server in drill.server_url_env"
        ) from error
    try:
        yield make_conninfo(server_url, dbname=name)
    except BaseException:
        # What went wrong first is what to say; what is left here, the next drill drops.
        with suppress(psycopg.Error):
            server.execute(drop)
        raise
    server.execute(drop)


def _drop_leftovers(server: Connection) -> None:
    """Drop the scratch databases of drills that were killed: their lock is free."""
    for row in server.execute(query("abandoned_drills"), {"prefix": _SCRATCH_PREFIX}).fetchall():
        server.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(row["name"]))
        )
