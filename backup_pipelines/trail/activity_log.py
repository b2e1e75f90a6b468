"""The application's own log gets a row about each operation: best effort, apart from any restore.

Which table, which columns and what is written there, the YAML says.
"""

import json
import os
import re
from collections.abc import Mapping

import psycopg
from psycopg import sql

from backup_pipelines.postgres.connection import with_defaults
from backup_pipelines.settings import ACTIVITY_FIELDS, ActivityLogSpec
from backup_pipelines.trail.audit import SEVERITIES, Happened

_CONNECT_SECONDS = 5
# For a network that is gone without a word, which no timeout of the server's ends.
_UNANSWERED_MILLISECONDS = 5000
# A row about an operation is not worth waiting for a migration of the application.
_STATEMENT_TIMEOUT = "5s"
_LOCK_TIMEOUT = "2s"

# As AssetDex names them; what it does not have follows the same pattern.
_ACTIONS = {
    "backup": "backup_created",
    "list": "backup_list_viewed",
    "download": "backup_downloaded",
    "upload": "backup_uploaded",
    "restore": "backup_restored",
    "restore_into": "backup_restored_elsewhere",
    "undo": "backup_restore_undone",
    "delete": "backup_deleted",
    "prune": "backup_pruned",
    "plan": "backup_restore_planned",
    "verify": "backup_verified",
    "drill": "backup_drilled",
    "pin": "backup_pinned",
    "unpin": "backup_unpinned",
}
_REFUSED = "unauthorized_backup_access"

_FIELD = re.compile(r"\{(" + "|".join(ACTIVITY_FIELDS) + r")\}")


def write(spec: ActivityLogSpec, system: str, happened: Happened) -> str:
    """Insert a row about what happened; says what went wrong, or nothing."""
    url = os.environ.get(spec.database_url_env)
    if not url:
        return ""
    try:
        texts = _texts(system, happened)
        row = {name: _filled(text, texts) for name, text in spec.columns.items()}
        with (
            psycopg.connect(
                with_defaults(
                    url,
                    what=f"the database of {spec.database_url_env}",
                    doing=f"activity log {system}",
                ),
                connect_timeout=_CONNECT_SECONDS,
                tcp_user_timeout=_UNANSWERED_MILLISECONDS,
                prepare_threshold=None,
            ) as connection,
        ):
            # In the transaction, since a pooler would give settings of a session to another one.
            connection.execute(
                "SELECT pg_catalog.set_config('statement_timeout', %s, true),"
                " pg_catalog.set_config('lock_timeout', %s, true)",
                (_STATEMENT_TIMEOUT, _LOCK_TIMEOUT),
            )
            # psycopg leaves the type of a text open, so that the server takes the column's.
            connection.execute(_insert(spec.table, row), list(row.values()))
    # The operation is over; nothing that happens here may make it look otherwise.
    except Exception as error:
        return f"{spec.table}: {' '.join(str(error).split())}"
    return ""


def action(happened: Happened) -> str:
    """The name of what happened, as applications call it: backup_created, backup_restored ..."""
    name = happened.operation
    if happened.outcome == "refused":
        return _REFUSED
    if happened.outcome == "failed":
        return "backup_failed" if name == "backup" else f"backup_{name}_failed"
    return _ACTIONS.get(name, f"backup_{name}")


def _texts(system: str, happened: Happened) -> Mapping[str, str]:
    details = happened.model_dump(mode="json", exclude_defaults=True)
    return {
        "operation": happened.operation,
        "action": action(happened),
        "outcome": happened.outcome,
        "severity": SEVERITIES[happened.outcome],
        "operator": happened.operator,
        "backup": happened.backup,
        "reason": happened.reason,
        "message": happened.message,
        "at": happened.at.isoformat(),
        "details": json.dumps({"system": system, **details}),
    }


def _filled(template: str, texts: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: texts[found[1]], template)


def _insert(table: str, row: Mapping[str, str]) -> sql.Composed:
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(*table.split(".", 1)),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
