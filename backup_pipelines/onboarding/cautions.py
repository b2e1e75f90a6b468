"""What stands in the way of a backup of a database, and what surprises later."""

from collections import Counter
from collections.abc import Iterable, Iterator

from psycopg import sql

from backup_pipelines.exporting.estimate import estimate
from backup_pipelines.onboarding.found import Found
from backup_pipelines.onboarding.reader_role import bypass_note, proposed_role, see_all_rows
from backup_pipelines.onboarding.rendering import STORAGE_LIMIT, shown
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.settings import parse_size
from backup_pipelines.wording import count, how_long, size

# From this size on a table decides how long the whole backup takes.
_BIG_TABLE = 10**9


def warnings_about(found: Found) -> tuple[str, ...]:
    """What to do before a backup; SQL to paste stands on lines of its own."""
    return tuple(_in_the_way(found))


def notes_about(found: Found) -> tuple[str, ...]:
    """What is good to know, and asks for nothing before a backup."""
    return (*_surprises(found), *_sizes(found))


def _in_the_way(found: Found) -> Iterator[str]:
    role = sql.Identifier(found.server.role).as_string()
    yield from _privileges(found, role)
    hidden = [table for table in found.tables if table.rows_hidden]
    if hidden:
        statements = (shown(line) for line in see_all_rows(found, role, hidden))
        said = (
            f"row-level security hides rows from role {shown(found.server.role)}, so a backup "
            f"would be refused, in {_names(hidden)}{bypass_note(found, hidden)}"
        )
        yield "\n".join([said, *statements])
    if found.writable:
        yield proposed_role(found)


def _surprises(found: Found) -> Iterator[str]:
    keyless = _names(table for table in found.roots if not table.primary_key)
    if keyless:
        yield f"no primary key, so no single row of it can be restored by --key: {keyless}"
    unlogged = _names(table for table in found.tables if table.oid in found.unlogged)
    if unlogged:
        yield f"unlogged, so a crash of the server empties them: {unlogged}"
    parts = Counter(table.partition_of for table in found.tables if table.partition_of)
    partitioned = ", ".join(
        f"{shown(table.qualified)} ({count(parts[table.qualified], 'partition')})"
        for table in found.roots
        if table.kind == "p"
    )
    if partitioned:
        yield (
            "partitioned; its name stands for all its partitions, also those that come later: "
            f"{partitioned}"
        )


def _sizes(found: Found) -> Iterator[str]:
    sizes = {table.qualified: table.size_bytes for table in found.facts()}
    total = sum(sizes.values())
    big = sorted((-size, name) for name, size in sizes.items() if size >= _BIG_TABLE)
    if big:
        listed = ", ".join(
            f"{shown(name)} ({size(-negative)}, about {how_long(estimate(-negative).seconds)})"
            for negative, name in big
        )
        yield (
            f"big tables, which decide how long a backup takes: {listed}; all tables about "
            f"{how_long(estimate(total).seconds)}, at 100 MB/s, which a slow network does not reach"
        )
    if total > parse_size(STORAGE_LIMIT):
        yield f"the tables take {size(total)}: look at storage_limit and keep_last"


def _privileges(found: Found, role: str) -> Iterator[str]:
    """What the role may not read, with the statements that grant it."""
    schemas: dict[str, list[LiveTable]] = {}
    for table in found.tables:
        schemas.setdefault(table.schema, []).append(table)
    missing: list[str] = []
    grants: list[str] = []
    for schema in sorted({*schemas, *found.unreadable_sequences}):
        tables = schemas.get(schema, [])
        quoted = sql.Identifier(schema).as_string()
        refused = [table for table in tables if not table.may_select]
        if any(not table.may_use_schema for table in tables):
            missing.append(f"schema {shown(schema)}")
            grants.append(f"GRANT USAGE ON SCHEMA {quoted} TO {role};")
        if refused and len(refused) == len(tables):
            missing.append(f"all tables of {shown(schema)}")
            grants.append(f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {role};")
        elif refused:
            missing.append(_names(refused))
            listed = ", ".join(table.identifier.as_string() for table in refused)
            grants.append(f"GRANT SELECT ON {listed} TO {role};")
        if schema in found.unreadable_sequences:
            missing.append(f"sequences of {shown(schema)}")
            grants.append(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {quoted} TO {role};")
    if missing:
        lines = (shown(grant) for grant in grants)
        yield "\n".join(
            [
                f"role {shown(found.server.role)} may not read {', '.join(missing)}; as their "
                "owner run",
                *lines,
            ]
        )


def _names(tables: Iterable[LiveTable]) -> str:
    return ", ".join(sorted(shown(table.qualified) for table in tables))
