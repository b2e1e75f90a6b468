"""What DROP TABLE ... CASCADE took beside the table: views, policies and rules of other tables.

The backup does not say what depends on what: an object went with a table if it names it, the backup
has it, and the live database has not.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from psycopg import sql

from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres import ddl_subjects
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.ddl import Entry
from backup_pipelines.postgres.ddl_subjects import Name
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.restoring.backup_ddl import Described
from backup_pipelines.restoring.creation import Creation, Piece
from backup_pipelines.restoring.existing import Relations, functions_now, parts_now

LockMode = Literal["SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"]
Entries = Sequence[Described]

_FUNCTIONS = ("FUNCTION", "PROCEDURE")


def lock(relation: Mapping[str, Any], mode: LockMode) -> sql.Composed:
    """A statement that locks a table."""
    name = sql.Identifier(relation["schema"], relation["name"])
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(name, sql.SQL(mode))


def add_views_and_functions(
    connection: Connection,
    creation: Creation,
    entries: Entries,
    names: Mapping[Name, str],
    relations: Relations,
) -> None:
    """Views that read a lost table or view, functions that take or return its rows."""
    live = {(row["schema"], row["relation"]) for row in functions_now(connection)}
    several = _overloaded(entries)
    beside: dict[Name, str] = {}
    while True:
        readable = {**names, **beside}
        more = {
            name: readable[read]
            for one in entries
            if (name := _made_beside(one, relations, live)) and name not in {*readable, *several}
            if (read := _read_by(one, readable))
        }
        if not more:
            break
        beside |= more
    # Each name to the view or function that it is of.
    whole = {name: name for name in beside if name not in relations}
    functions: dict[Name, Name] = {}
    signatures: dict[Name, str] = {}
    for one in entries:
        if one.name is not None and one.name in whole:
            whole |= dict.fromkeys(ddl_subjects.made_with(one.entry), whole[one.name])
        name = _made_beside(one, relations, live) if one.entry.type in _FUNCTIONS else None
        if name is not None and name in beside:
            functions[name] = name
            signatures[one.entry.schema, one.entry.name] = beside[name]
    first: list[Piece] = []
    grants: list[Piece] = []
    for one in entries:
        of = whole.get(one.name) if one.name else functions.get(_function_of(one.entry) or ())
        if of is not None:
            piece = Piece(one.entry, beside[of], is_beside=True, part_of=of)
            (grants if one.entry.type == "ACL" else first).append(piece)
    creation.views = {
        one.name: beside[one.name]
        for one in entries
        if one.name is not None and one.name in beside and _is_view(one)
    }
    creation.functions = signatures
    # Policies of the tables may read the views.
    creation.last = (*first, *creation.last)
    creation.grants = (*creation.grants, *grants)


def add_policies_and_rules(
    connection: Connection,
    creation: Creation,
    entries: Entries,
    names: Mapping[Name, str],
    relations: Relations,
) -> None:
    """Policies and rules of live tables that read a lost table or view."""
    readable = {**names, **creation.views}
    now = parts_now(connection, relations)
    pieces: list[Piece] = []
    locks = dict(creation.locks)
    for one in entries:
        entry, name = one.entry, one.name
        if entry.type not in ("POLICY", "RULE") or name not in relations:
            continue
        read = _read_by(one, readable)
        label = ddl_subjects.part_of(entry)
        if name is None or not read or (entry.type.lower(), name, label) in now:
            continue
        relation, table = relations[name], readable[read]
        if relation["kind"] not in ("r", "p"):
            continue
        if not relation["is_ours"]:
            creation.warn(
                table,
                [
                    f"{entry.type.lower()} {label} of {'.'.join(name)} went with it and is not "
                    f"put back: the table belongs to {relation['owner']}, who may run this "
                    f"afterwards: {' '.join(entry.statements)}"
                ],
            )
            continue
        pieces.append(Piece(entry, table, is_beside=True, on_live=True))
        locks[relation["oid"]] = lock(relation, "ACCESS EXCLUSIVE")
    creation.last = (*creation.last, *pieces)
    creation.locks = locks


def warn_of_others(
    connection: Connection,
    creation: Creation,
    entries: Entries,
    names: Mapping[Name, str],
    manifest: Manifest,
) -> None:
    """Casts, columns and tables that may have gone with a table, and do not come back."""
    readable = {**names, **creation.views}
    live_functions = {(row["schema"], row["relation"]) for row in functions_now(connection)}
    live_functions |= set(creation.functions)
    for one in entries:
        entry = one.entry
        is_gone = entry.type in _FUNCTIONS and (entry.schema, entry.name) not in live_functions
        # They go with the type that a table is.
        if not is_gone and entry.type not in ("CAST", "AGGREGATE"):
            continue
        if read := _read_by(one, readable):
            key = next(s.key for s in manifest.ddl if s.section == "pre-data")
            text = (
                f"{entry.type.lower()} {entry.name} may have gone with it, too, and is not put "
                f"back: its definition is in the backup ({key})"
            )
            creation.warn(readable[read], [text])
    live = list_tables(connection)
    _warn_of_columns(connection, creation, names, manifest, live)
    known = {table.qualified for table in live} | set(creation.made)
    for table in manifest.tables:
        if names and table.qualified not in known and table.partition_of is None:
            text = f"{table.qualified} does not exist any more, either, and is not selected"
            creation.warn(next(iter(names.values())), [text])


def _warn_of_columns(
    connection: Connection,
    creation: Creation,
    names: Mapping[Name, str],
    manifest: Manifest,
    live: Sequence[LiveTable],
) -> None:
    types = {f"{schema}.{prefix}{name}" for schema, name in names for prefix in ("", "_")}
    typed = {
        t.qualified: t for t in manifest.tables if any(c.base_type in types for c in t.columns)
    }
    now = [table for table in live if table.qualified in typed]
    for table_now in with_columns(connection, now):
        there = {column.name for column in table_now.columns}
        for column in typed[table_now.qualified].columns:
            if column.base_type in types and column.name not in there:
                schema, _, name = column.base_type.partition(".")
                table = names.get((schema, name)) or names[schema, name.removeprefix("_")]
                text = (
                    f"column {table_now.qualified}.{column.name} ({column.type}) went with it and "
                    "is not put back: add it again, then restore that table"
                )
                creation.warn(table, [text])


def without_problem(piece: Piece, problem: str) -> str:
    """What is said of an object beside the table that cannot be made."""
    reason = " ".join(problem.split())
    is_body = ddl_subjects.is_body_of_view(piece.entry)
    what = f"view {'.'.join(piece.part_of)}" if is_body else piece.text
    return f"{what} went with it and cannot be put back: {reason}"


def _made_beside(one: Described, relations: Relations, functions: Collection[Name]) -> Name | None:
    """The view or function that an object makes, if there is none of that name now."""
    if one.entry.type in _FUNCTIONS:
        is_there = (one.entry.schema, one.entry.name) in functions
        return None if is_there else ddl_subjects.function_of(one.entry)
    if one.name is None or one.name in relations:
        return None
    return one.name if _is_view(one) or ddl_subjects.is_body_of_view(one.entry) else None


def _function_of(entry: Entry) -> Name | None:
    """The function, without its arguments, that an object is or that a grant or comment is on."""
    if entry.type in _FUNCTIONS:
        return ddl_subjects.function_of(entry)
    is_on_one = entry.name.startswith(tuple(f"{kind} " for kind in _FUNCTIONS))
    if entry.type in ("ACL", "COMMENT") and is_on_one:
        return ddl_subjects.function_granted(entry)
    return None


def _overloaded(entries: Entries) -> set[Name]:
    """The functions of whom there are several: a grant does not say of which by types alone."""
    counts = Counter(_function_of(one.entry) for one in entries if one.entry.type in _FUNCTIONS)
    return {name for name, count in counts.items() if name is not None and count > 1}


def _is_view(one: Described) -> bool:
    return one.entry.type in ("VIEW", "MATERIALIZED VIEW")


def _read_by(one: Described, names: Mapping[Name, str]) -> Name | None:
    return next((name for name in names if name in one.reads), None)


def add_comments(creation: Creation, entries: Entries) -> None:
    """The comments on keys, policies and rules that are put back on live tables."""
    back = {
        (ddl_subjects.about(piece.entry), ddl_subjects.part_of(piece.entry)): piece.table
        for piece in (*creation.keys, *creation.last)
        if piece.on_live
    }
    creation.last = (
        *creation.last,
        *(
            Piece(one.entry, back[part], is_beside=True, on_live=True)
            for one in entries
            if one.entry.type == "COMMENT"
            and (part := (one.name, ddl_subjects.commented_part(one.entry))) in back
        ),
    )
