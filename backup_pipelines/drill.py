"""Drills: a backup restored into a scratch database, compared by digest, timed, and dropped."""

import secrets
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backup_pipelines import drill_record, encryption, layout
from backup_pipelines.drill_record import DrillResult
from backup_pipelines.errors import BackupError, NotEqual, Refused
from backup_pipelines.manifest import Manifest, Table
from backup_pipelines.postgres.connection import Connection, as_failed, connected, describe
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring.load import Loaded, load
from backup_pipelines.restoring.proof_tasks import prove_by_tasks, sees_all
from backup_pipelines.storage.store import Store

_SCRATCH_PREFIX = "backup_drill_"


def run_drill(
    store: Store,
    entry: Manifest,
    server_url: str,
    *,
    report: Callable[[str], None],
    workers: Executor | None = None,
    variable: str = "",
) -> DrillResult:
    """Restore `entry` into a scratch database of the server, prove every digest, drop it.

    Where there are `workers`, and `variable` leads them to the server too, they make the proof.
    Raises NotEqual when any table differs and Failed when it cannot be loaded.
    """
    at = datetime.now(UTC)
    encryption.refuse_closed(entry)
    broken_off = as_failed(f"the drill of {entry.id} broke off")
    doing = f"drill {entry.system}"
    with (
        _unequal_remembered(store, entry),
        broken_off,
        connected(server_url, what="the drill's server", doing=doing) as server,
    ):
        version = describe(server)
        if version.major < entry.server_version // 10000:
            raise Refused(
                f"the drill's server is PostgreSQL {version.major}, older than the backup's "
                f"{entry.server_version // 10000}; name a newer one in drill.server_url_env"
            )
        _drop_leftovers(server)
        scratch = _scratch_database(server, server_url)
        with scratch as url, connected(url, doing=doing) as connection:
            if workers is not None and variable and sees_all(connection):
                loaded = load(connection, store, entry, report, proof=_later)
                _prove(connection, entry, workers, variable, loaded, report)
            else:
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
    drill_record.remember(store, entry.system, entry.id, None)
    return result


@contextmanager
def _unequal_remembered(store: Store, entry: Manifest) -> Generator[None]:
    """Rows that come out wrong are remembered, so that no later backup names them again."""
    try:
        yield
    except NotEqual as error:
        # What is wrong is what to say, though nobody can write it down.
        with suppress(BackupError):
            drill_record.remember(store, entry.system, entry.id, str(error))
        raise


def _later(connection: Connection, tables: Sequence[Table]) -> None:
    """Prove nothing yet: other connections see the rows when they are committed."""
    del connection, tables


def _prove(
    connection: Connection,
    entry: Manifest,
    workers: Executor,
    variable: str,
    loaded: Loaded,
    report: Callable[[str], None],
) -> None:
    report("proof, on the cluster")
    started = time.monotonic()
    prove_by_tasks(connection, entry.tables, workers, variable)
    seconds = time.monotonic() - started
    loaded.seconds += seconds
    loaded.seconds_by_step["proof"] = round(seconds, 3)


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
