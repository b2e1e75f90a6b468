"""One record and what hung on it, picked from the staged rows of the backup."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.postgres.comparison import Change
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.guards import LiveForeignKey


def keep_record(
    connection: Connection,
    changes: Sequence[Change],
    foreign_keys: Sequence[LiveForeignKey],
    table: str,
    key: str,
    *,
    with_children: bool,
) -> None:
    """Leave in the stages only the table's record and, if wanted, the rows that referenced it.

    `changes` has the table and, where children are wanted, those that reference it. Raises NotFound
    when the backup has no such record and Refused for a key that is none.
    """
    staged = [change for change in changes if change.staged]
    for change in staged:
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} (row tid PRIMARY KEY) ON COMMIT DROP").format(
                sql.Identifier(f"backup_keep_{change.number}")
            )
        )
    own = [c for c in staged if table in (c.live.root, c.live.qualified)]
    if not sum(_keep_by_key(connection, change, table, key) for change in own):
        raise NotFound(f"the backup has no record {key} in {table}")
    steps = [
        (child, parent, foreign_key)
        for foreign_key in (foreign_keys if with_children else ())
        for child in staged
        for parent in staged
        if foreign_key.table in (child.live.root, child.live.qualified)
        and foreign_key.references in (parent.live.root, parent.live.qualified)
        and set(foreign_key.columns) <= set(child.columns)
        and set(foreign_key.referenced_columns) <= set(parent.columns)
    ]
    while sum(_keep_children(connection, *step) for step in steps):
        pass
    for change in staged:
        connection.execute(
            sql.SQL(
                "DELETE FROM {} AS s WHERE NOT EXISTS (SELECT FROM {} AS k WHERE k.row = s.ctid)"
            ).format(change.stage, _keep(change))
        )


def _keep(change: Change) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"backup_keep_{change.number}")


def _keep_by_key(connection: Connection, change: Change, table: str, key: str) -> int:
    if change.key is None:
        raise Refused(f"{table} has no primary key, so no record of it can be named")
    columns = change.key.columns
    values = key.split(",") if len(columns) > 1 else [key]
    if len(values) != len(columns):
        raise Refused(
            f"the key of {table} is {', '.join(columns)}: give {len(columns)} values with commas "
            f"between them, not {len(values)}"
        )
    statement = sql.SQL("INSERT INTO {} SELECT s.ctid FROM {} AS s WHERE {}").format(
        _keep(change),
        change.stage,
        # A literal of no type yet takes that of the column.
        change.key.equals("s", [sql.Literal(value) for value in values]),
    )
    try:
        with connection.transaction():
            return connection.execute(statement).rowcount
    except psycopg.DataError as error:
        raise Refused(f"{key} is no key of {table}: {str(error).splitlines()[0]}") from error


def _keep_children(
    connection: Connection, child: Change, parent: Change, foreign_key: LiveForeignKey
) -> int:
    matched = foreign_key.matches("p", "c")
    return connection.execute(
        sql.SQL(
            "INSERT INTO {} SELECT c.ctid FROM {} AS c JOIN {} AS p ON {}"
            " JOIN {} AS k ON k.row = p.ctid ON CONFLICT DO NOTHING"
        ).format(_keep(child), child.stage, parent.stage, matched, _keep(parent))
    ).rowcount
