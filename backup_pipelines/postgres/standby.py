"""A hot standby as the source of backups: how old its rows are, and what ends a backup there."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from backup_pipelines.errors import BackupError, Failed, Refused
from backup_pipelines.postgres.connection import Connection, Server, connected, describe
from backup_pipelines.postgres.queries import query
from backup_pipelines.progress import Report
from backup_pipelines.wording import moment

# In a transaction that only reads, nothing but a recovery conflict has this SQLSTATE.
_CONFLICT = "40001"
# What the readers and pg_dump hand on is PostgreSQL's text, the first with the SQLSTATE.
_CONFLICT_TEXTS = (f"SQLSTATE: {_CONFLICT}", "conflict with recovery")

ADVICE = (
    "set max_standby_streaming_delay and max_standby_archive_delay there above the time that a "
    "backup takes (-1 is for ever), or set hot_standby_feedback = on and keep DDL, TRUNCATE and "
    "VACUUM FULL out of that time, or back up from the primary"
)


@dataclass(frozen=True)
class Replayed:
    """How much of its primary a standby has."""

    until: datetime | None = None
    """What was committed by then is surely there, by the primary's clock; None on a primary."""
    is_hidden: bool = False
    """Whether it may be newer, and this role may not see whether it is."""

    def in_words(self, role: str) -> str:
        """For the warnings of a backup that is older than it looks."""
        until = moment(self.until) if self.until else ""
        if self.is_hidden:
            return (
                "the standby it was taken from has surely replayed its primary up to "
                f"{until}; whether it had more, its role may not see: run "
                f"{grant(role)} on the primary"
            )
        return (
            "the standby it was taken from has replayed its primary up to "
            f"{until}: what was committed later is not in it"
        )


def grant(role: str) -> str:
    """What lets a role see how far a standby is behind its primary."""
    return f"GRANT pg_read_all_stats TO {sql.Identifier(role).as_string()};"


def replayed(connection: Connection) -> Replayed:
    """What a standby has of its primary.

    As on a primary where the server does not say, as Aurora's readers do not, which replay nothing.
    """
    try:
        row = connection.execute(query("replayed_until")).fetchone()
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege):
        return Replayed()
    assert row is not None
    return Replayed(**row)


@contextmanager
def conflicts_explained(server: Server) -> Generator[None]:
    """Say in one sentence why a standby ended a session of the block, and what to do about it."""
    try:
        yield
    except (BackupError, psycopg.Error) as error:
        if not server.is_standby or not _is_conflict(error):
            raise
        raise Failed(
            "the standby ended the backup, because its replay would wait no longer for a reader: "
            f"{ADVICE}"
        ) from error


def refuse_standby(connection: Connection, system: str) -> None:
    """Raise Refused where the connection leads to a standby, which takes no writes."""
    if describe(connection).is_standby:
        raise Refused(
            f"the URL of the database of {system} leads to a standby, which takes no writes: set "
            "restore_url_env in the YAML to a variable with the URL of the primary, as the role "
            "that owns the tables"
        )


def to_read_before_writing(source_url: str, target_url: str, system: str, *, warn: Report) -> str:
    """Which of two URLs to read what is about to be written to at the second: never a standby.

    It may lack what the application wrote last. Nor one that is down: the restore goes elsewhere.
    """
    if source_url == target_url:
        return source_url
    what = f"the database of {system}"
    try:
        with connected(source_url, what=what, doing=f"backup {system}") as connection:
            return target_url if describe(connection).is_standby else source_url
    except Failed as error:
        warn(f"{error}; the safety backup is read from where the restore writes")
        return target_url


def _is_conflict(error: BaseException) -> bool:
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "sqlstate", None) == _CONFLICT:
            return True
        if any(text in str(found) for text in _CONFLICT_TEXTS):
            return True
        found = found.__cause__ or found.__context__
    return False
