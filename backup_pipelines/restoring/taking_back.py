"""What a restore created, so that its undo can take exactly that back, and nothing else.

A created table goes only if it is the same one, with the same rows as the restore left; an object
beside it only if it is the same one as well. Nothing is dropped with CASCADE.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import psycopg
from psycopg import sql

from backup_pipelines.errors import Refused
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.ddl_subjects import Name, about, part_of
from backup_pipelines.postgres.digest import live_digest
from backup_pipelines.postgres.introspect import LiveTable, list_tables, with_columns
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring.creation import Creation, Piece
from backup_pipelines.restoring.existing import functions_now, objects_now
from backup_pipelines.restoring.missing import name_of
from backup_pipelines.restoring.scene import Scene

Kind = Literal["table", "view", "materialized view", "foreign key", "policy", "rule", "function"]

_DROPS: Mapping[str, Callable[[sql.Identifier, sql.Identifier], sql.Composed]] = {
    "view": lambda relation, _: sql.SQL("DROP VIEW {}").format(relation),
    "materialized view": lambda relation, _: sql.SQL("DROP MATERIALIZED VIEW {}").format(relation),
    "foreign key": lambda relation, name: sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
        relation, name
    ),
    "policy": lambda relation, name: sql.SQL("DROP POLICY {} ON {}").format(name, relation),
    "rule": lambda relation, name: sql.SQL("DROP RULE {} ON {}").format(name, relation),
    "trigger": lambda relation, name: sql.SQL("DROP TRIGGER {} ON {}").format(name, relation),
}


_FIELDS = ("kind", "schema", "relation", "name", "oid", "content")


@dataclass(frozen=True)
class Made:
    """One thing that a restore created: which one it is, and how it was left."""

    kind: Kind
    schema: str
    relation: str
    """The table or view, or the live table that got the key, policy or rule back."""
    name: str
    oid: int
    content: str
    """The digest of a table's rows; a hash of another object's definition."""
    rows: int = 0
    text: tuple[str, ...] = ()
    """The columns that the digest takes as text."""

    @property
    def qualified(self) -> str:
        """The relation as people name it."""
        return f"{self.schema}.{self.relation}"

    def to_json(self) -> Mapping[str, Any]:
        """The fields, for the record of the run."""
        return {**asdict(self), "text": list(self.text)}

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> "Made":
        """What `to_json` made."""
        made = cls(**fields)
        return replace(made, text=tuple(made.text))


def made_by(connection: Connection, creation: Creation) -> tuple[Made, ...]:
    """Everything that was created, as it is now; tables first, in no order that matters."""
    beside = {_place(piece) for piece in creation.done if piece.on_live}
    beside |= {("view", view, "") for view in creation.made_views}
    tables = {name_of(table): table for table in creation.made.values()}
    names = {*tables, *(place[1] for place in beside)}
    found: list[Made] = []
    for row in objects_now(connection, sorted(names)):
        name: Name = (row["schema"], row["relation"])
        if row["kind"] == "table" and name in tables:
            table = tables[name]
            text = tuple(sorted(c.name for c in table.columns if c.encoding == "text"))
            made = Made(**row)
            found.append(replace(made, content=table.digest, rows=table.rows, text=text))
        elif (row["kind"].removeprefix("materialized "), name, row["name"]) in beside:
            found.append(Made(**row))
    functions = creation.made_functions
    for row in functions_now(connection):
        if (row["schema"], row["relation"]) in functions:
            found.append(Made(**{name: row[name] for name in _FIELDS}))
    return tuple(found)


def live_tables(connection: Connection, made: Sequence[Made]) -> dict[str, LiveTable]:
    """The created tables of these that are still there, by name, with columns."""
    oids = {one.oid for one in made if one.kind == "table"}
    if not oids:
        return {}
    found = [table for table in list_tables(connection) if table.oid in oids]
    return {table.qualified: table for table in with_columns(connection, found)}


def without(scene: Scene, made: Sequence[Made]) -> Scene:
    """The scene that is left when what was created is dropped."""
    tables = {one.oid for one in made if one.kind == "table"}
    keys = {(one.qualified, one.name) for one in made if one.kind == "foreign key"}
    # A created partition may belong to a table that is to be restored.
    goes = {name for name, live in scene.live.items() if live.oid in tables}
    return replace(
        scene,
        tables=tuple(table for table in scene.tables if table.qualified not in goes),
        live={name: live for name, live in scene.live.items() if name not in goes},
        drifts={name: drift for name, drift in scene.drifts.items() if name not in goes},
        guards=[guard for guard in scene.guards if guard.table_oid not in tables],
        foreign_keys=[
            key
            for key in scene.foreign_keys
            if not {key.table_oid, key.references_oid} & tables
            and (key.table, key.name) not in keys
        ],
    )


def locks(
    connection: Connection, made: Sequence[Made]
) -> tuple[dict[int, sql.Identifier], dict[int, sql.Composed]]:
    """What dropping these locks: the tables, and statements that lock the views, by oid.

    Owners get the rights back that the backup's grants took: they could not lock what they drop.
    """
    oids = {"oids": [one.oid for one in made]}
    rows = connection.execute(query("locked_by_undo"), oids).fetchall()
    named = [(row, sql.Identifier(row["schema"], row["name"])) for row in rows]
    for row, name in named:
        if row["lacks_rights"]:
            grant = sql.SQL("GRANT ALL ON TABLE {} TO {}")
            connection.execute(grant.format(name, sql.Identifier(row["owner"])))
    tables = {row["oid"]: name for row, name in named if not row["is_view"]}
    # LOCK TABLE of a view locks all that it reads as well; this changes nothing.
    views = {
        row["oid"]: sql.SQL("ALTER TABLE {} OWNER TO {}").format(name, sql.Identifier(row["owner"]))
        for row, name in named
        if row["is_view"]
    }
    return tables, views


def refuse_grown(connection: Connection, tables: Mapping[str, LiveTable]) -> None:
    """Raise Refused when created tables got partitions since, which would go with them."""
    grown = [
        table.qualified
        for table in list_tables(connection)
        if table.partition_of in tables and table.qualified not in tables
    ]
    if grown:
        raise Refused(
            f"the undo would drop what the restore created, and {', '.join(grown)} with it, a "
            "partition that was made since; nothing was changed: drop it yourself, then undo"
        )


def take_back(connection: Connection, made: Sequence[Made]) -> tuple[str, ...]:
    """Drop what a restore created; returns the tables that were dropped.

    The caller has asked `refuse_grown`, and lifted forced row-level security. Raises Refused when
    something is not as the restore left it, or when something that was made since needs it.
    """
    now = _still_there(connection, made)
    tables = live_tables(connection, made)
    problems = [text for one in made if (text := _problem(connection, one, now, tables))]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise Refused(
            f"the undo would drop what the restore created; nothing was changed:\n{listed}"
        )
    _drop_own_parts(connection, [oid for oid in now if oid in {one.oid for one in made}])
    # Views may read views; each round drops those that nothing reads any more.
    beside = [one for one in made if one.kind != "table" and one.oid in now]
    _drop_beside(connection, [(one, _statement(one, now[one.oid])) for one in beside])
    if tables:
        names = sql.SQL(", ").join(table.identifier for table in tables.values())
        _drop(connection, sql.SQL("DROP TABLE {}").format(names), "the created tables")
    return tuple(sorted(tables))


def _place(piece: Piece) -> tuple[str, Name, str]:
    return piece.kind, about(piece.entry) or (), part_of(piece.entry)


def _still_there(connection: Connection, made: Sequence[Made]) -> dict[int, Mapping[str, Any]]:
    """What has the name of a created thing now, by oid."""
    names = sorted({(one.schema, one.relation) for one in made})
    found: dict[int, Mapping[str, Any]] = {
        row["oid"]: row for row in objects_now(connection, names)
    }
    if any(one.kind == "function" for one in made):
        known = {(one.schema, one.relation) for one in made}
        found |= {
            row["oid"]: row
            for row in functions_now(connection)
            if (row["schema"], row["relation"]) in known
        }
    return found


def _problem(
    connection: Connection,
    one: Made,
    now: Mapping[int, Mapping[str, Any]],
    tables: Mapping[str, LiveTable],
) -> str:
    """Why a created thing may not be dropped; what is gone already needs no dropping."""
    label = (
        f"{one.kind} {one.name} of {one.qualified}" if one.name else f"{one.kind} {one.qualified}"
    )
    same_name = [
        row
        for row in now.values()
        if (row["schema"], row["relation"], row["name"]) == (one.schema, one.relation, one.name)
        and (row["kind"] == one.kind or not one.name)
    ]
    if one.oid not in now:
        if one.kind == "table" and any(table.oid == one.oid for table in tables.values()):
            return f"{label} has another name now: rename it back"
        another = (
            "is not the one that the restore created: it was made again since, so keep or drop"
        )
        return f"{label} {another} it yourself" if same_name else ""
    if one.kind != "table":
        changed = now[one.oid]["content"] != one.content
        return f"{label} was changed since: drop it yourself" if changed else ""
    live = tables.get(one.qualified)
    if live is None:
        return f"{label} cannot be seen: is it an extension's now?"
    rows, digest = live_digest(connection, live.with_text_columns(one.text))
    if (rows, digest) == (one.rows, one.content):
        return ""
    return (
        f"{label} has {rows:,} rows with digest {digest}, the restore left {one.rows:,} with "
        f"{one.content}: its rows or columns were changed since, and are not thrown away; drop it "
        "yourself if it may go, then undo"
    )


def _statement(one: Made, now: Mapping[str, Any]) -> sql.Composed:
    if one.kind == "function":
        # PostgreSQL's own text of it, quoted where it has to be.
        return sql.SQL("DROP ROUTINE {}").format(sql.SQL(now["signature"]))
    relation, name = sql.Identifier(one.schema, one.relation), sql.Identifier(one.name or "none")
    return _DROPS[one.kind](relation, name)


def _drop_own_parts(connection: Connection, oids: Sequence[int]) -> None:
    """Drop what goes with these relations, and may read views and functions that need them."""
    for row in connection.execute(query("own_parts"), {"oids": oids}).fetchall():
        relation = sql.Identifier(row["schema"], row["relation"])
        connection.execute(_DROPS[row["kind"]](relation, sql.Identifier(row["name"])))


def _drop_beside(connection: Connection, made: Sequence[tuple[Made, sql.Composed]]) -> None:
    waiting = list(made)
    while waiting:
        left: list[tuple[Made, sql.Composed]] = []
        for one, statement in waiting:
            try:
                with connection.transaction():
                    connection.execute(statement)
            except psycopg.errors.DependentObjectsStillExist:
                left.append((one, statement))
        if len(left) == len(waiting):
            one, statement = left[0]
            _drop(connection, statement, f"{one.kind} {one.qualified}")
        waiting = left


def _drop(connection: Connection, statement: sql.Composed, what: str) -> None:
    try:
        connection.execute(statement)
    except psycopg.errors.DependentObjectsStillExist as error:
        detail = " ".join((error.diag.message_detail or "").split())
        raise Refused(
            f"the undo cannot drop {what}; nothing was changed: something that was made since "
            f"needs it: {detail}; drop that first"
        ) from error
