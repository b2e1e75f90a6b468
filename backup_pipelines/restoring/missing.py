"""Which objects of a backup's DDL the tables need that the live database lost.

DROP TABLE ... CASCADE takes more than the table: foreign keys of others to it, views, policies and
rules that read it. Those are put back as well; what cannot be is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from backup_pipelines.manifest import ForeignKey, Manifest, Table
from backup_pipelines.postgres import ddl_subjects
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.ddl_subjects import Name
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring import lost
from backup_pipelines.restoring.backup_ddl import BackupDdl, Described
from backup_pipelines.restoring.creation import BackedKey, Creation, Piece
from backup_pipelines.restoring.existing import (
    KINDS,
    Relations,
    no_key_with,
    parts_now,
    relations_now,
)

# What else comes after the rows waits until all is proved.
_STAGES = {
    "ACL": "grants",
    "ROW SECURITY": "security",
    "INDEX ATTACH": "index attach",
    **dict.fromkeys(("CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "STATISTICS"), "constraints"),
}


def find(
    connection: Connection,
    ddl: BackupDdl,
    entry: Manifest,
    tables: Sequence[Table],
    live: Mapping[str, LiveTable],
    *,
    of_record: bool,
) -> Creation | None:
    """What has to be made for those of the tables that are not live; None if all are.

    Reads the backup's DDL and the catalog, and changes nothing.
    """
    missing = {table.qualified: table for table in tables if table.qualified not in live}
    if not missing:
        return None
    described = ddl.objects
    relations = _relations(connection, described, missing.values())
    creation = Creation(missing)
    for table in missing.values():
        for why in _against(connection, table, tables, described, relations, of_record=of_record):
            creation.refuse(table.qualified, why)
    names = {name_of(t): q for q, t in missing.items() if q not in creation.problems}
    _choose(creation, described, names)
    lost.add_views_and_functions(connection, creation, described, names, relations)
    lost.add_policies_and_rules(connection, creation, described, names, relations)
    lost.warn_of_others(connection, creation, described, names, entry)
    _choose_keys(connection, creation, described, entry, names, relations)
    lost.add_comments(creation, described)
    creation.locks = {**_locks(creation, relations, names, live), **creation.locks}
    return creation


def name_of(table: Table) -> Name:
    """The name of a table as the DDL's objects have it."""
    return table.schema_name, table.name


def _relations(
    connection: Connection, described: Sequence[Described], missing: Iterable[Table]
) -> dict[Name, dict[str, Any]]:
    """What of all names in the DDL exists now."""
    names = {one.name for one in described if one.name is not None and len(one.name) == 2}
    names |= {name_of(table) for table in missing}
    return relations_now(connection, names)


def _against(
    connection: Connection,
    table: Table,
    selected: Sequence[Table],
    described: Sequence[Described],
    relations: Relations,
    *,
    of_record: bool,
) -> list[str]:
    """Why a table cannot be created, as far as that shows without trying."""
    if of_record:
        return ["restore the whole table first, then there is nothing left of the record to do"]
    if name_of(table) in relations:
        kind = KINDS.get(relations[name_of(table)]["kind"], "something else")
        return [f"there is {kind} of that name now; rename or drop it"]
    names = {one.qualified for one in selected}
    if table.partition_of is not None and table.partition_of not in names:
        return [f"it is a partition of {table.partition_of}: select that table"]
    if not any(one.entry.type == "TABLE" and one.name == name_of(table) for one in described):
        return ["the DDL of the backup does not have it; restore an older or newer backup"]
    [row] = connection.execute(
        query("rights_to_create"), {"schemas": [table.schema_name]}
    ).fetchall()
    schema, role = (sql.Identifier(text).as_string() for text in (row["schema"], row["role"]))
    if not row["is_there"]:
        return [f"there is no schema {row['schema']}: CREATE SCHEMA {schema} AUTHORIZATION {role};"]
    if not row["may_create"]:
        return [
            f"{row['role']} may not create tables in schema {row['schema']}: "
            f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};"
        ]
    return []


def _choose(creation: Creation, described: Sequence[Described], names: Mapping[Name, str]) -> None:
    """Everything that is part of the tables, but for foreign keys."""
    owners: dict[Name, str] = dict(names)
    sequences: dict[Name, str] = {}
    for one in described:
        entry, name = one.entry, one.name
        if entry.type == "SEQUENCE OWNED BY" and name is not None:
            owner = ddl_subjects.owner_of_sequence(entry)
            if owner is not None and owner in names:
                owners[name] = names[owner]
                sequences[name] = names[owner]
        elif name is not None and name in names:
            for made in ddl_subjects.made_with(entry):
                owners[made] = names[name]
                sequences |= {made: names[name]} if entry.type == "SEQUENCE" else {}
    stages: dict[str, list[Piece]] = {}
    for one in described:
        if one.name is not None and one.name in owners and one.entry.type != "FK CONSTRAINT":
            piece = Piece(one.entry, owners[one.name])
            stages.setdefault(_stage(one, names), []).append(piece)
    creation.tables = tuple(stages.get("tables", ()))
    attaches, index_attaches = stages.get("attached", []), stages.get("index attach", [])
    # A partition that joins a live table gives it the first index that fits: so it has no other.
    later = _of_its_own(stages.get("constraints", []), attaches, index_attaches)
    kept = [piece for piece in stages.get("constraints", []) if piece not in later]
    creation.constraints = tuple(kept)
    within = [p for p in index_attaches if ddl_subjects.attached_to(p.entry) in owners]
    outward = [piece for piece in index_attaches if piece not in within]
    # Its own tree of indexes is whole before a partitioned partition joins.
    creation.attached = (*within, *attaches, *outward, *later)
    creation.last = tuple(stages.get("last", ()))
    creation.grants = tuple(stages.get("grants", ()))
    creation.security = tuple(stages.get("security", ()))
    creation.sequences = sequences


def _of_its_own(
    pieces: Sequence[Piece], attaches: Sequence[Piece], index_attaches: Sequence[Piece]
) -> list[Piece]:
    """The indexes of partitions to attach that are part of no index of their table."""
    joining = {piece.table for piece in attaches}
    shared = {ddl_subjects.about(piece.entry) for piece in index_attaches}
    return [
        piece
        for piece in pieces
        if piece.table in joining
        and piece.entry.type in ("INDEX", "CONSTRAINT")
        and not shared & set(ddl_subjects.made_with(piece.entry))
    ]


def _stage(one: Described, names: Mapping[Name, str]) -> str:
    kind = one.entry.type
    if kind in _STAGES:
        return _STAGES[kind]
    if kind == "TABLE ATTACH" and ddl_subjects.attached_to(one.entry) not in names:
        # A partition of a table that is live gets its indexes first, or it would get them anew.
        return "attached"
    return "last" if one.is_after_rows else "tables"


def _choose_keys(
    connection: Connection,
    creation: Creation,
    described: Sequence[Described],
    manifest: Manifest,
    names: Mapping[Name, str],
    relations: Relations,
) -> None:
    """Foreign keys of the tables, and those to them that live tables lost."""
    known = {(key.table, key.name): key for key in manifest.foreign_keys}
    # A key to a partitioned table went with any one of its partitions.
    roots = {creation.made[q].partition_of: q for q in names.values()}
    parents: dict[Name, str] = {n: roots[q] for n in relations if (q := ".".join(n)) in roots}
    parents |= names
    now = parts_now(connection, relations)
    pieces: list[Piece] = []
    backed: list[BackedKey] = []
    homeless: list[ForeignKey] = []
    for one in described:
        entry, child = one.entry, one.name
        parent = ddl_subjects.referenced_by(entry) if entry.type == "FK CONSTRAINT" else None
        if child is None or parent is None or not (child in names or parent in parents):
            continue
        label = ddl_subjects.part_of(entry)
        key = known.get((".".join(child), label))
        own = [BackedKey(key, child, parent)] if key is not None and key.validated else []
        if child in names:
            there = {} if parent in names else relations_now(connection, {parent})
            columns = key.referenced_columns if key is not None else ()
            why = no_key_with(connection, there[parent], columns) if there else ""
            if why:
                text = f"its foreign key {label} references {'.'.join(parent)}, which {why}"
                creation.refuse(names[child], f"{text}; make it as it was, then restore")
            elif there or parent in names:
                pieces.append(Piece(entry, names[child]))
                backed += own
            elif key is not None:
                homeless.append(key)
            continue
        if child not in relations or ("foreign key", child, label) in now:
            continue
        why = _cannot_have(connection, key, relations[child])
        if why:
            text = f"foreign key {label} of {'.'.join(child)} went with it and is not put back: "
            creation.warn(parents[parent], [text + why + " " + " ".join(entry.statements)])
            continue
        pieces.append(Piece(entry, parents[parent], is_beside=True, on_live=True))
        backed += own
    creation.keys, creation.backed, creation.homeless = (
        tuple(pieces),
        tuple(backed),
        tuple(homeless),
    )


def _cannot_have(
    connection: Connection, key: ForeignKey | None, relation: Mapping[str, Any]
) -> str:
    """Why a live table cannot get its key back."""
    why = no_key_with(connection, relation, key.columns if key is not None else ())
    if why:
        return f"that {why}. It was:"
    if not relation["is_ours"]:
        return f"the table belongs to {relation['owner']}, who may run this afterwards:"
    return ""


def _locks(
    creation: Creation,
    relations: Relations,
    names: Mapping[Name, str],
    live: Mapping[str, LiveTable],
) -> dict[int, sql.Composed]:
    """Locks on the tables of ours at the other ends of keys, and on those that are inherited."""
    others: set[Name] = set()
    for piece in creation.keys:
        ends = (ddl_subjects.about(piece.entry), ddl_subjects.referenced_by(piece.entry))
        others |= {end for end in ends if end is not None}
    parents = {parent for name in names.values() for parent in creation.made[name].inherits}
    others |= {name for name in relations if ".".join(name) in parents}
    found = [relations[name] for name in others if name in relations]
    return {
        row["oid"]: lost.lock(row, "SHARE ROW EXCLUSIVE")
        for row in found
        if row["is_ours"] and f"{row['schema']}.{row['name']}" not in live
    }
