"""The proof of a drill as tasks on a cluster: digests of ranges of pages, by own connections.

Only of a database that nobody else writes to, after the commit, and by a superuser, from whom
neither row-level security nor revoked rights hide a row.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, Future

from psycopg.conninfo import make_conninfo

from backup_pipelines import environment
from backup_pipelines.exporting.export import pieces
from backup_pipelines.manifest import Table
from backup_pipelines.postgres.connection import Connection, connected, describe
from backup_pipelines.postgres.digest import as_encoded, other_rows, other_shape
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.projection import Pages, digest_query, to_digest
from backup_pipelines.restoring.load import refuse_differences, refuse_nothing


def sees_all(connection: Connection) -> bool:
    """Whether nothing can be hidden from the role of the connection."""
    return connection.info.parameter_status("is_superuser") == "on"


def prove_by_tasks(
    connection: Connection, tables: Sequence[Table], workers: Executor, variable: str
) -> None:
    """Raise NotEqual, naming every table of the connection's database that differs.

    The workers reach its server by the `variable` of their environments.
    """
    refuse_nothing(tables)
    listed = {table.qualified: table for table in list_tables(connection)}
    known = [listed[table.qualified] for table in tables if table.qualified in listed]
    live = {table.qualified: table for table in with_columns(connection, known)}
    block_size, database = describe(connection).block_size, connection.info.dbname
    problems: dict[str, str] = {}
    asked: dict[str, list[Future[tuple[int, int]]]] = {}
    for table in tables:
        found = live.get(table.qualified)
        problems[table.qualified] = other_shape(table, found)
        if found is not None and found.kind != "p" and not problems[table.qualified]:
            asked[table.qualified] = [
                workers.submit(digest_of, variable, database, piece.table, piece.pages)
                for piece in pieces(as_encoded(found, table), block_size)
            ]
    try:
        for table in tables:
            if not problems[table.qualified]:
                sums = [future.result() for future in asked.get(table.qualified, ())]
                rows, total = sum(s[0] for s in sums), sum(s[1] for s in sums)
                problems[table.qualified] = other_rows(table, rows, to_digest(total))
    finally:
        for future in (one for each in asked.values() for one in each):
            future.cancel()
    refuse_differences(problems)


def digest_of(
    variable: str, database: str, table: LiveTable, pages: Pages | None
) -> tuple[int, int]:
    """Rows of a range of pages, and the sum of their hashes; a task of its own."""
    url = make_conninfo(environment.url_of(variable), dbname=database)
    with connected(url, what="the drill's server", doing="drill") as connection:
        row = connection.execute(digest_query(table, pages)).fetchone()
    assert row is not None
    return int(row["rows"]), int(row["total"])
